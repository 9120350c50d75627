"""Which annotations mark a seizure, and which only speak of seizures: `marks_seizure`.

`KEYWORDS` are the words for a seizure in several languages.  A remark that names one is not a seizure: it
denies it ("no clinical seizure"), doubts it ("? seizure"), is about another time ("last seizure 2 weeks
ago") or about something else ("seizure precautions").  Case and accents do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

AUTO, NONE = "auto", "none"
"""Values of ``ictal``: the words of this module, or no annotation; any other is a list of own words."""

_LETTER = r"[^\W\d_]"


def _any_of(words: str) -> str:
    """Return the regular expression of any of some words, in which ``_`` is a blank."""
    return "|".join(word.replace("_", " ") for word in words.split())


# English with the labels of the Temple corpora and of SzCORE; German and Scandinavian; Dutch; French,
# Spanish, Portuguese, Italian, Romanian; Polish, Czech, Turkish, Finnish, Hungarian, Russian, Greek
KEYWORDS = _any_of(r"""
    seizures? seiz seizing [a-z]{0,3}sz szr ictal iktal convulsions? status_epilepticus ncse
    tonic[-_]?clonic tonico[-_]?clonic[ao]? tonisch[-_]?klonisch(er|e)? gtcs? fbtcs? fias grand_mal petit_mal
    absences?(?!_(of|de|du|des|von)\b|_d'|_epileps) absencen
    epileptic_(spasms?|fits?|attacks?) infantile_spasms?
    [a-z]*anfall(e|s|es)?(s?(beginn|start|anfang|ende|stopp?))? [a-z]*anfaelle anfald aanval(len)?
    crises? crisis crisi criz[ae] convulsion(es)? convulsao convulsoes convulsion[ei]
    ausencias?(?!_de\b) assenz[ae](?!_d[i']\b)
    napad[yu]? zachvat[yu]? nobet kohtaus roham приступ[ыа]? судороги? κριση κρισεις
""")
"""Words for a seizure, as regular expressions of whole words without accents."""

_ASIAN = "発作|发作|發作|발작"  # written without blanks; before an interval they are "interictal"

_WORDS_BEFORE = 5  # of a clause, that a negation may be away


_DENIED = re.compile(
    r"\b("
    + _any_of(r"""
    no not never nil neither nor without w/o den(y|ies|ied|ying) nieg\w* nega\w* nie vernein\w* ontken\w*
    negative absence_(of|de) absent
    free_(of|from) lack cannot \w+n't rules?_out ruled_out ruling_out r/o exclud\w* kein\w* nicht
    ohne pas sans aucune? jamais sin ningun\w* nunca libre libero exempt\w* nessun\w* senza nao sem
    nothing niente dont doesnt didnt isnt wasnt unlikely false
    nenhum\w* geen niet zonder ingen inga inget utan ikke uden uten bez brak yok нет без χωρις
    non_(ictal|iktal|seizures?|epilep\w*|epilet\w*|crisi|crises?)
    """)
    + r")\b"
)
_SYMPTOM = re.compile(r"\b(not|no) (respon[ds]\w*|answer\w*|reacti\w*|speaking|breathing)( to \w+)?\b")
"""What denies no seizure but describes one."""

_OTHERWISE = re.compile(
    r"\b("
    + _any_of(r"""
    history hx h/o dx diagnos\w* info\w* s/p status_post
    anamnes\w* antecedent\w* famil\w* fam last latest previous\w* prior past
    former\w* earlier known letzte\w* fruhere?\w* bekannte?\w* zn zustand_nach derniere?s?
    precedent\w* ultim[oa]s? had hatte since report\w* complain\w* describ\w* ask\w* discuss\w*
    inform\w* instruct\w* explain\w* remember\w* recall\w* expect\w* fear\w* afraid wait\w* treat\w*
    indication reason referr\w* evaluat\w* query possibl\w* poss probabl\w* suspect\w* suspici\w*
    susp suspicion verdacht\w* va fraglich\w* moglich\w* sospech\w* sospett\w* posible possivel
    new_onset laatste\w*
    usual\w* potential\w*
    questionable equivocal unclear pseudo\w* psychogen\w* functional dissociative pnes pnea
    simulat\w* fake mimic\w* panic hypertensive non_?epilep\w*
    """)
    + r")\b"
)
_NEAR = re.compile(  # up to two words before, or just before
    r"\b("
    + _any_of(r"""
    before after between following for case_of about if like due_to because_of avant apres antes_de
    despues_de prima dopo nach zwischen bei wegen vs versus
    """)
    + r")\b( \S+){0,2}$|\b(anti|inter|pre|post|peri|non|no|pseudo)$"
)
_COMPOUND = re.compile(
    r"^("
    + _any_of(r"""
    (button|alarm|alert)s?_(tests?|tested|testing|checks?|checked|off|not) epileps\w* camera nurse bed
    free frei libre like related d/o artig\w* precaution\w* protocol\w* detect detection detector\w* detecting
    predict\w* forecast\w* threshold risk disorders? syndromes? history hx control controlled
    medic\w* meds? drugs? asm aeds? diary calendar log frequency plan first_aid aid dog pads? clinic
    unit ward focus onset_zone semiology types? reduction freedom burden probability question\w*
    watch work_?up evaluation management prophylaxis treatment therapy education safety tests?
    mimics? simulation vs versus interictal in_(the_)?(past|family|childhood|history)
    anamnesis unlikely excluded
    ruled_out
    """)
    + r")\b"
)
_NONE_OF_THEM = re.compile(
    r"\b("
    + _any_of(r"""
    none nil absent vernein\w* negiert denied denies negative neg never no nein keine?r? non aucune? ningun\w*
    nessun\w* nao nee nej yok false fraglich assenti
    not_(seen|recorded|observed|present|noted|captured|detected|occurr\w*|clear|sure|certain|epileptic)
    unlikely excluded ruled_out
    """)
    + r")$|[:=] ?0$"
)
_ANOTHER_TIME = re.compile(
    r"\b("
    + _any_of(r"""
    ago since yesterday today tonight earlier last_(night|time) this_(morning|afternoon|evening) heute
    at_(home|work|school|age) aged age_(of|\d+) at_\d+_?(y|yo|yrs?) \d+/\d+/\d+ (19|20)\d\d\.\d+\.\d+
    (0?[1-9]|[12]\d|3[01])\.(0?[1-9]|1[0-2])\.((19|20)\d\d|[0-2]\d)(?!_?(uhr|h\b))
    weeks? months? years? yrs? childhood infancy daily weekly monthly nightly
    per_day vor_\d+ seit gestern gisteren wochen? monate?n? jahre?n? tagen il_y_a depuis hier semaines? mois
    annees? ans hace desde ayer semanas? meses anos settiman\w* mesi anni ieri weken maanden jaren
    (in|en|im|nel|em)_(19|20)\d\d
    """)
    + r")\b|/ ?(d|day|wk|week|mo|month|yr|year)\b"
)
_PLURAL = re.compile(
    r"\b(seizures|convulsions|\w*anf(a|ae)lle|crises|convulsiones|aanvallen|napady|zachvaty)\b"
)
_BEGINS = re.compile(
    r"\b(start\w*|begin\w*|onset|beginn|anfang|debut|inicio|inizio|inicia|aanvang|begynn\w*|cluster)\b"
)
_ENDS = re.compile(
    r"\b(end|ends|ended|ending|stop|stops|stopped|offset|finish\w*|terminat\w*|termin[oe]e?|cess\w*|resolv\w*"
    r"|(?:seizure|sz) done|abort\w*|abat\w*|vorbei|fim"
    r"|ende|endet|beendet|\w*anfalls(ende|stopp?)|fin|final|finita|einde|slut\w*|koniec|konec|конец|τελος)\b"
    r"|\b(off|over)$|\bfine (della )?cris|\bcris\w* fine\b|終|结束|結束|종료"
)


def marks_seizure(text: str, ictal: str = AUTO, *, lasts: bool = True) -> str | None:
    """Return the word by which an annotation marks a seizure, or its end; None if it does not.

    Parameters
    ----------
    text
        The annotation.
    ictal
        ``"auto"``: a word of `KEYWORDS` that is not part of a remark; ``"none"``: no annotation; or words
        separated by commas, one of which the annotation contains.
    lasts
        Whether the annotation has a duration.  One in the plural without a duration is a remark, unless it
        names a start or an end.

    Examples
    --------
    >>> marks_seizure("Seizure start"), marks_seizure("No clinical seizure"), marks_seizure("Anfall")
    ('seizure', None, 'anfall')
    >>> marks_seizure("EEG onset", "EEG onset, EEG end")
    'eeg onset'
    """
    if ictal == NONE:
        return None
    plain = _plain(text)
    if ictal != AUTO:
        own = (word for word in map(_plain, ictal.split(",")) if word)
        return next((word for word in own if _whole(re.escape(word)).search(plain)), None)
    for clause in _clauses(plain):
        for found in _keyword().finditer(clause):
            alone = plain.removeprefix("comment/") == found[0]
            if not _is_remark(clause, found, is_span=lasts or alone):
                return found[0]
    return None


def names_seizure(text: str) -> bool:
    """Return whether an annotation contains a word for a seizure, as a mark or in a remark."""
    return _keyword().search(_plain(text)) is not None


def marks_end(text: str) -> bool:
    """Return whether an annotation that marks a seizure marks its end."""
    return any(_ENDS.search(clause) for clause in _clauses(_plain(text)))


def _plain(text: str) -> str:
    """Return a text in lower case, without accents, underscores and the numbers of numbered seizures.

    Words that capitals join, as in ``SzStart``, are separated.
    """
    parts = unicodedata.normalize("NFKD", re.sub("(?<=[a-z])(?=[A-Z][a-z])", " ", text).casefold())
    bare = "".join(part for part in parts if not unicodedata.combining(part))
    bare = re.sub("[\u2010-\u2015]", "-", unicodedata.normalize("NFC", bare).replace("\u2019", "'"))
    shortened = re.sub(r"\b([zv])\. ?([na])\.", r"\1\2", re.sub(r"[\s_]+", " ", bare))  # z. n., v. a.
    return " ".join(re.sub(r"\b(no|nr|n)\. ?(?=\d)|#", " ", shortened).split())


def _clauses(plain: str) -> list[str]:
    """Split a text where a negation ends: "no response, seizure" is a seizure."""
    return [" ".join(part.split()) for part in re.split(r"[,;()\[\]|]|\.(?= |$)", plain)]


@lru_cache
def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!{_LETTER})({pattern})(?!{_LETTER})")


@lru_cache
def _keyword() -> re.Pattern[str]:
    return re.compile(rf"{_whole(KEYWORDS).pattern}|({unicodedata.normalize('NFC', _ASIAN)})(?![間间간])")


def _is_remark(clause: str, found: re.Match[str], *, is_span: bool) -> bool:
    before = re.sub(r"[\s:-]+", " ", clause[: found.start()]).strip()
    after = re.sub(r"[\s-]+", " ", clause[found.end() :]).strip()
    if found[0] in ("発作", "发作", "發作", "발작"):
        return before.endswith(("无", "無", "未", "没有", "沒有", "なし")) or after.startswith(
            ("なし", "無", "없", "史", "歴")
        )
    near = " ".join(_SYMPTOM.sub(" ", before).split()[-_WORDS_BEFORE:])
    several = _PLURAL.search(clause) and not (_BEGINS.search(clause) or _ENDS.search(clause))
    return bool(
        "?" in clause
        or _DENIED.search(near)
        or _OTHERWISE.search(before)
        or _NEAR.search(before)
        or _COMPOUND.search(after.lstrip(" :="))
        or _NONE_OF_THEM.search(after.rstrip(" .!"))
        or _ANOTHER_TIME.search(clause)
        or (several and not is_span)
    )
