"""The frequency of the mains by country, for the notch.

Source: IEC, World Plugs; IEC 60038.  Japan has both, by region, and so is left to the frequency itself.
"""

_SIXTY = (
    "AG AI AS AW BM BR BS BZ CA CO CR CU DO EC FM GT GU GY HN HT KN KR KY MF MH MP MS MX NI PA PE PH PR PW "
    "SA SR SV SX TC TT TW US VE VG VI"
)
_FREQUENCIES = (50.0, 60.0)


def mains(place: str) -> float:
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
    if len(code) != 2 or not (code.isascii() and code.isalpha()):
        raise ValueError(f"{place!r} is no mains; expected 50, 60 or the two letters of a country")
    return _FREQUENCIES[code in _SIXTY.split()]
