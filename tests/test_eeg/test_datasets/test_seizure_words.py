"""Which annotations mark a seizure: what clinicians and technicians write, in several languages."""

from dataclasses import replace
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest

from eeg.datasets.seizure_words import marks_end, marks_seizure
from eeg.datasets.seizures import annotated_among, find_seizures, read_seizures
from eeg.io.electrodes import TEN_TWENTY
from eeg.io.reader import from_raw, read_recording
from eeg.preprocessing.pipeline import Preprocessing
from eeg.workflows.inspect import inspect_corpus
from tests.test_eeg.helpers import windows_from
from tests.test_eeg.recordings import write_edf
from trainers.errors import DataError

SEIZURES = """
Seizure 10.15.30
Seizure 10.05.45
Anfall um 10.15.30 Uhr
Anfall 10.05.20 Uhr
szr
patient not responding: seizure begins
no response to commands seizure
FIAS
SzStart
SeizureOnset
Epileptic spasms
Ende des Anfalls
Koniec napadu
Seizure aborted
Seizure
seizure start
Seizure end
Comment/Seizure start
EEG seizure onset left temporal
Seizure #2
Seizure no. 3 start
seizure over left temporal region
Clinical seizure
subclinical seizure
Electrographic seizure with no clinical correlate
Seizure, no response to commands
No response, seizure
focal seizure with impaired awareness
non-convulsive seizure
Nonconvulsive status epilepticus
focal non-motor seizure
GTCS
GTC
FBTCS onset
tonic-clonic
Tonic seizure
Absence
absence seizure 12 s
Absences
petit mal
pt seizing
patient has a seizure
having seizure now
sz
SZ1
sz on
sz off
sz_foc_ia
fnsz
Seizure detected
ictal
Ictal onset
ictal rhythmic theta
Anfall
Anfallsbeginn
Anfallsende
Krampfanfall
Anfall Ende
Beginn Anfall
generalisierter Anfall
Crise
crise GTC
Début de crise
Fin de crise
Crise d'épilepsie
crisis
Inicio crisis
Fin de la crisis
Crisis convulsiva
Crisi
Inizio crisi
Fine crisi
crise convulsiva
Ausencia
convulsión
Aanval
Napad
приступ
発作
癫痫发作
발작
Seizures start
Seizures
myoclonic seizure cluster
Status epilepticus
grand mal
Seizure - patient unresponsive
event: seizure
Seizure A
Patient event (seizure)
push button: seizure
Seizure at 10:35
seizure during hyperventilation
Seizure ends; postictal slowing
Seizure from sleep
iktal
Insult / aanval
1st seizure
Second seizure
Patient in seizure
Comment/Seizures
Seizure lasting 20 s
Seizure 0:35 min
No change.  Seizure start
no seizure so far; seizure start
ÉTAT: crise
Anfall
""".strip().splitlines()

REMARKS = """
Seizure button test
seizure alarm off
New-onset seizures
Juvenile absence epilepsy
nothing to suggest seizure
dont think seizure
false positive seizure
unlikely seizure
seizures started at age 5
laatste aanval gisteren
niente crisi
Anfall fraglich
nöbet yok
发作史
No clinical seizure
Seizure: none
Last seizure 2 weeks ago
Seizure precautions
Denies seizures
Seizure detection off
not a seizure
anti-seizure drug given
antiseizure medication
family history of seizures
seizure-free
seizure free since 2019
seizure 3.5.2019
HV: usual seizure not provoked
Brief potentially ictal rhythmic discharges
ictal-interictal continuum
Grand mal in history
not a seizure
seizure on 03.05.19
last seizure 2019.05.03
Anfall am 12.11.2018
Seizure free for 3 years
? seizure
seizure?
?sz
possible seizure
No seizures recorded
no seizure
No EEG or clinical seizures
without seizure
No evidence of a seizure
did not have a seizure
Seizure: no
seizures = 0
Seizures: 0
Seizure activity: not seen
Seizure activity absent
Seizures denied
history of seizures
hx seizures
H/o seizure
Previous seizure
First seizure 3 months ago
had a seizure yesterday
Patient reports seizure last night
reports seizures
mother describes seizures
seizure-like movements
seizure like
pseudoseizure
psychogenic seizure
non-epileptic seizure
Non epileptic seizures
interictal
inter-ictal spikes
post-ictal
postictal slowing
pre-ictal
preictal
after seizure
before seizure
between seizures
seizure medication
Seizure meds taken
Seizure diary
seizure disorder
seizure threshold
seizure risk
Indication: seizures
Reason for EEG: seizure
evaluate for seizures
rule out seizures
R/O seizure
seizures since childhood
2 seizures per week
3 seizures
seizures/week 2
Letzter Anfall vor 2 Wochen
kein Anfall
Keine Anfälle
anfallsfrei
Z.n. Anfall
V.a. Anfall
Anfall?
Anfälle seit 2010
Pas de crise
absence de crise
absence of alpha
Absence of seizures
sans crise
Dernière crise il y a 2 semaines
Antécédents de crises
Sin crisis
no crisis
Última crisis hace 3 meses
libre de crisis
Nessuna crisi
senza crisi
ultima crisi 2 settimane fa
sem crises
geen aanval
无发作
発作なし
発作間欠期
ingen anfall
Seizure unlikely
Seizure excluded
seizure ruled out
No further seizures
no more seizures
Never had a seizure
suspected seizure
probable seizure
questionable seizure
Seizure onset zone
no sz
non-seizure
Denies any seizure or fall
Seizure frequency 2/month
Seizure control good
Seizure dog present
in case of seizure press button
Patient asked about seizures
Discussed seizure plan
Negative for seizures
free of seizures
Seizure pads on bed
Seizure not captured
seizures are controlled
Patient has seizures at night
Epilepsy with seizures
aura before seizure
keppra for seizure
seizure prophylaxis
no ictal discharge
no epileptic seizure
No GTCS
keine Absencen
GTCS 2 years ago
last GTC in 2020
bez napadu
Taking Keppra (seizures)
Dx: seizures
Dx seizure
s/p seizure
febrile seizure at age 2
Seizure last night
seizure this morning
seizure 3/12/2020
niega crisis
nega crisi
Patient verneint Anfälle
Anfälle verneint
seizure d/o
seizure-related injury
Patient denies any further seizure activity
Seizure test
increase of seizures reported
mother: last seizure in May
z. n. Anfall
Kein Anfall, keine Absence
in case of seizure, press the button
NO SEIZURE
No_seizure
Seizure-free
seizure‑free
""".strip().splitlines()

ENDS = [
    "Ende des Anfalls",
    "Koniec napadu",
    "Seizure aborted",
    "SzEnd",
    "seizureEnd",
    "crise terminée",
    "fim da crise",
    "Seizure end",
    "Fin de crise",
    "Anfallsende",
    "Anfall Ende",
    "sz off",
    "Fine crisi",
    "seizure over",
    "end of seizure",
]
POINTS = [0.0, 1 / 256, 0.0039, 0.004, 0.01]  # s: zero, one sample, one sample as BIDS rounds it


@pytest.mark.parametrize("lasts", [True, False])
@pytest.mark.parametrize("text", SEIZURES)
def test_marks_of_a_seizure(text: str, lasts: bool) -> None:
    assert marks_seizure(text, lasts=lasts) is not None


@pytest.mark.parametrize("text", REMARKS)
def test_remarks(text: str) -> None:
    assert marks_seizure(text, lasts=False) is None


@pytest.mark.parametrize(
    "text", ["Fp1 bad", "eyes open", "crystal", "Zufall", "fine", "size", "absence of alpha", ""]
)
def test_other_annotations(text: str) -> None:
    assert marks_seizure(text) is None


def test_ends() -> None:
    assert [text for text in SEIZURES if marks_end(text) and text not in ENDS] == [
        "Fin de la crisis",
        "Seizure ends; postictal slowing",
    ]
    assert all(marks_end(text) and marks_seizure(text, lasts=False) for text in ENDS)


def test_own_words_are_words_and_no_patterns() -> None:
    assert marks_seizure("EEG Onset", "eeg onset, clin onset") == "eeg onset"
    assert marks_seizure("Clin. onset", "eeg onset,clin onset") is None
    assert marks_seizure("no seizure", "seizure") == "seizure"  # the user's word
    assert marks_seizure("seizure", "onset") is None
    assert marks_seizure("seizure", "s.*") is None
    assert marks_seizure("seizure", "none") is None
    assert marks_seizure("Épisode", "episode") == "episode"
    with pytest.raises(ValueError, match="ictal: expected auto, none, or words"):
        Preprocessing(("Cz", "O1"), ictal=" , ")


@pytest.mark.parametrize("duration", POINTS)
def test_a_point_in_time_starts_a_seizure_that_lasts_until_its_end(duration: float, tmp_path: Path) -> None:
    marks = [(20.0, duration, "Seizure start"), (50.0, duration, "Seizure end"), (70.0, duration, "Anfall")]
    found = annotated_among(marks, 120.0)
    assert [str(one) for one in found.seizures] == [
        "from 20 s to 50 s by the annotation 'seizure'",
        "from 70 s to the end by the annotation 'anfall'",
    ]
    assert [values.tolist() for values in found.spans] == [[20, 70], [30, 50]]
    table = tmp_path / "events.tsv"
    rows = "".join(f"{onset}\t{lasting}\t{text}\n" for onset, lasting, text in marks[:2])
    table.write_text(f"onset\tduration\ttrial_type\n{rows}")
    assert [values.tolist() for values in read_seizures(table)] == [[20], [30]]


def test_a_seizure_that_began_before_the_recording_is_known_by_its_end() -> None:
    found = annotated_among([(30.0, 0.0, "Seizure end"), (50.0, 0.0, "Seizure end")], 120.0)
    assert [str(one) for one in found.seizures] == ["from the start to 30 s by the annotation 'seizure'"]
    known = annotated_among([(20.0, 5.0, "Seizure"), (25.0, 0.0, "Seizure end")], 120.0)
    assert [values.tolist() for values in known.spans] == [[20], [5]]


def test_a_seizure_after_the_end_of_the_recording_is_reported_and_excludes_nothing() -> None:
    found = annotated_among([(300.0, 0.0, "Seizure")], 120.0)
    assert [str(one).rpartition(", ")[2] for one in found.seizures] == [
        "which is after the end of the recording"
    ]
    assert [values.size for values in found.spans] == [0, 0]


def test_the_events_of_a_recording_of_bids_are_found_wherever_it_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    noise = 20 * np.random.default_rng(0).standard_normal((19, 20 * 128))
    path = write_edf(folder / "sub-01_task-rest_eeg.edf", noise, TEN_TWENTY)
    (tmp_path / "task-rest_events.tsv").write_text("onset\tduration\ttrial_type\n5\t10\tseizure\n")
    assert [values.tolist() for values in find_seizures(read_recording(path)).spans] == [[5], [10]]
    other = mne.io.read_raw_edf(path, verbose="error").crop(5)  # whose times are no longer those of the file
    assert not find_seizures(from_raw(other)[0]).seizures
    assert inspect_corpus(path).recordings[0].seizures == 1


def annotated(*notes: tuple[float, float, str]) -> mne.io.BaseRaw:
    raw = mne.io.RawArray(np.zeros((1, 6400)), mne.create_info(["Cz"], 128, "eeg"), verbose="error")
    onset, duration, text = zip(*notes, strict=True)
    return raw.set_annotations(mne.Annotations(onset, duration, text))


def test_what_counts_and_what_does_not_is_described_without_the_text() -> None:
    raw = annotated((3, 2, "Mueller: EEG seizure"), (9, 0, "Zebulon denies seizures"))
    assert find_seizures(raw).describe() == [
        "seizure from 3 s to 5 s by the annotation 'seizure'",
        "not counted as a seizure: a remark that names one at 9 s",
    ]
    assert find_seizures(raw, ictal="none").describe() == []
    assert [one.start for one in find_seizures(raw, ictal="zebulon").seizures] == [9]


def test_tables_follow_the_option(tmp_path: Path) -> None:
    table = tmp_path / "a.csv_bi"
    table.write_text("channel,start_time,stop_time,label\nTERM,5,8,seiz\nTERM,12,13,artf\n")
    raw = annotated((1, 1, "x"))
    for ictal, starts in (("auto", [5]), ("none", []), ("artf", [12])):
        assert find_seizures(raw, table, ictal).spans[0].tolist() == starts


def test_inspect_shows_which_annotation_it_was(tmp_path: Path) -> None:
    notes = [
        edfio.EdfAnnotation(4, None, "Mueller: seizure start"),
        edfio.EdfAnnotation(10, None, "Seizure end"),
    ]
    noise = 20 * np.random.default_rng(0).standard_normal((2, 3840))
    path = write_edf(tmp_path / "a.edf", noise, ("Fp1", "Cz"), annotations=notes)
    (found,) = inspect_corpus(path, progress=False).recordings
    assert found.seizures == 1
    assert found.annotations == ("seizure from 4 s to 10 s by the annotation 'seizure'",)
    (none,) = inspect_corpus(path, ictal="none", progress=False).recordings
    assert (none.seizures, none.annotations) == (None, ())


def test_a_recording_within_a_seizure_says_which_annotation_and_the_way_out() -> None:
    rng = np.random.default_rng(0)
    raw = mne.io.RawArray(
        2e-5 * rng.standard_normal((2, 6400)), mne.create_info(["Cz", "O1"], 128, "eeg"), verbose="error"
    )
    raw.set_annotations(mne.Annotations([0.0], [0.0], ["Seizure of Mueller"]))
    settings = Preprocessing(("Cz", "O1"))
    with pytest.raises(
        DataError, match=r"from 0 s to the end by the annotation 'seizure'.*--ictal none"
    ) as caught:
        windows_from(raw, settings, 2.0)
    assert "Mueller" not in str(caught.value)
    overruled = windows_from(raw, replace(settings, ictal="none"), 2.0)
    assert (len(overruled.data), overruled.ictal) == (25, 0)
