"""The power-line frequency by country, for the notch filter.

Source: IEC, World Plugs; IEC 60038.  Japan has both by region; it and the few places for which sources
disagree need the frequency itself.
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
    """Return the power-line frequency, Hz.

    Parameters
    ----------
    place
        The ISO 3166 code of a country or the frequency: ``"BE"``, ``"us"``, ``"60"``.

    Raises
    ------
    ValueError
        ``place`` is neither, or the country has both frequencies.
    """
    if place in ("50", "60"):
        return float(place)
    code = place.upper()
    if code == "JP":
        raise ValueError("Japan has 50 Hz in the east and 60 Hz in the west; give the frequency")
    if code not in _FREQUENCIES:
        raise ValueError(
            f"unknown power-line frequency {place!r}; expected 50, 60 or an ISO 3166 country code such as GB"
        )
    return _FREQUENCIES[code]
