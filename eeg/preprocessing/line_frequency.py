"""The frequency of the mains by country, for the notch.

Source: IEC, World Plugs; IEC 60038.  Japan has both, by region, and so is left to the frequency itself, as
are the few places of which sources disagree.
"""

_FIFTY = (
    "AD AE AF AL AM AO AR AT AU AX AZ BA BB BD BE BF BG BH BI BJ BN BO BQ BT BW BY CC CD CF CG CH CI CK "
    "CL CM CN CV CW CX CY CZ DE DJ DK DM DZ EE EG EH ER ES ET FI FJ FK FO FR GA GB GD GE GF GG GH GI GL "
    "GM GN GP GQ GR GS GW HK HR HU ID IE IL IM IN IO IQ IR IS IT JE JM JO KE KG KH KI KM KW KZ LA LB LC "
    "LI LK LS LT LU LV LY MA MC MD ME MG MK ML MM MN MO MQ MR MT MU MV MW MY MZ NA NC NE NF NG NL NO NP "
    "NR NU NZ OM PF PG PK PL PM PN PS PT PY QA RE RO RS RU RW SB SC SD SE SG SH SI SJ SK SL SM SN SO SS "
    "ST SY SZ TD TG TH TJ TK TL TM TN TO TR TV TZ UA UG UY UZ VA VC VN VU WF WS YE YT ZA ZM ZW"
)
_SIXTY = (
    "AG AI AS AW BM BR BS BZ CA CO CR CU DO EC FM GT GU GY HN HT KN KR KY MF MH MP MS MX NI PA PE PH PR PW "
    "SA SR SV SX TC TT TW US VE VG VI"
)
_FREQUENCIES = dict.fromkeys(_FIFTY.split(), 50.0) | dict.fromkeys(_SIXTY.split(), 60.0)


def parse_line_frequency(place: str) -> float:
    """Return the frequency of the mains, Hz.

    Parameters
    ----------
    place
        A country's two letters (ISO 3166) or the frequency itself: ``"BE"``, ``"us"``, ``"60"``.

    Raises
    ------
    ValueError
        It is neither, or the country has both frequencies.
    """
    if place in ("50", "60"):
        return float(place)
    code = place.upper()
    if code == "JP":
        raise ValueError("Japan has 50 Hz in the east and 60 Hz in the west; name the frequency")
    if code not in _FREQUENCIES:
        raise ValueError(
            f"{place!r} is no mains; expected 50, 60 or the two letters of a country (ISO 3166, such as GB)"
        )
    return _FREQUENCIES[code]
