"""What files of every format say of names, units and persons, and what MNE warns of."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import mne
import numpy as np
import pytest

from eeg.io import isolated
from eeg.io.edf_header import read_edf_header
from eeg.io.electrodes import TEN_TWENTY, contacts, electrodes, reference
from eeg.io.notes import notes_from
from eeg.io.reader import read_header, read_recording, read_with_header
from tests.test_eeg.recordings import write_edf, write_fif
from tests.test_eeg.test_io.small_files import (
    FOUR,
    RATE,
    SECONDS,
    noise,
    refusal,
    set_times,
    write,
    write_brainvision,
    write_persyst,
)
from trainers.errors import DataError


@pytest.mark.parametrize(
    ("references", "expected"), [(("A1",) * 4, "A1"), (("A1", "A2", "A1", "A2"), "A1/A2"), (("REF",) * 4, "")]
)
def test_the_reference_of_brainvision_is_that_of_its_header(
    references: Sequence[str], expected: str, tmp_path: Path
) -> None:
    raw, header = read_with_header(write_brainvision(tmp_path, references=references))
    assert header.reference == expected
    assert raw.ch_names == list(FOUR)


def test_pairs_of_brainvision_are_not_taken_for_electrodes(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, references=("P3", "O1", "Fp2", "F4"))
    with pytest.raises(DataError, match=r"no scalp electrode .* but differences of two"):
        read_recording(path)


@pytest.mark.parametrize(
    "written",
    [
        *("T3-LER", "T3-CLE", "T3-AA", "T3-AVG", "T3-Ref", "T3:M2", "T3-(M1+M2)/2", "EEG T3-LE", "T3-A1A2"),
        *("T3-((A1+A2)/2)", "T3-A1/A2", "T3-M1M2", "T3-Average", "T3-AvgRef", "EEG T3:REF", "T3-AVR"),
    ],
)
def test_references(written: str) -> None:
    names = [written, written.replace("T3", "Cz")]
    assert electrodes(names) == dict(zip(names, ("T7", "Cz"), strict=True))
    assert "/" not in reference(names).replace("/2", "").replace("A1/A2", "")


def test_contacts_of_grids_are_not_scalp_electrodes(tmp_path: Path) -> None:
    grid = [f"{letter}{i}" for letter in "ABCF" for i in range(1, 9)]
    assert contacts(grid) == {*grid}
    assert contacts(["Fz", *grid]) == {*grid} - {f"F{i}" for i in range(1, 9)}
    caps = [
        name for name in mne.channels.make_standard_montage("colin27_1020").ch_names if name not in "A1A2"
    ]
    assert contacts([*TEN_TWENTY, "A1", "A2", "T1", "T2", *(f"DC{i}" for i in range(1, 17))]) == set()
    assert contacts([*caps, *(f"EMG{i}" for i in range(1, 9))]) == set()
    grid = [f"{letter}{i}" for letter in "AF" for i in range(1, 13)]
    path = write_edf(tmp_path / "a.edf", noise(channels=24), grid)
    assert "24 channel(s), numbered in rows as contacts of grids or depth electrodes" in refusal(path)
    path = write_edf(tmp_path / "b.edf", noise(channels=26), [*grid, "O1", "O2"])
    raw, header = read_with_header(path)
    assert raw.ch_names == ["O1", "O2"]
    assert len(header.problems) == 1


INSIDE = "1 channel(s) named as scalp electrodes are intracranial by their type, so left out"


@pytest.mark.parametrize("kind", ["seeg", "ecog", "dbs"])
def test_channels_that_are_intracranial_by_their_type(kind: str, tmp_path: Path) -> None:
    path = write_fif(tmp_path / "a_raw.fif", 1e-6 * noise(), FOUR)
    raw = mne.io.read_raw(path, preload=True, verbose="error")
    raw.set_channel_types({"T7": kind}, verbose="error").save(path, overwrite=True, verbose="error")
    found, header = read_with_header(path)
    assert found.ch_names == ["Fp1", "Cz", "O2"]
    assert header.problems == read_header(path).problems == [INSIDE]
    assert read_header(path).electrodes == ("Fp1", "Cz", "O2")
    raw.set_channel_types(dict.fromkeys(FOUR, kind), verbose="error")
    raw.save(path, overwrite=True, verbose="error")
    assert refusal(path) == (
        "no scalp electrode among its 4 channel(s): 4 are intracranial by their type (ECoG, SEEG or DBS)"
    )


def test_channels_that_are_intracranial_by_the_table_beside_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a_eeg.edf")
    (tmp_path / "a_channels.tsv").write_text("name\ttype\nFp1\tEEG\nT7\tSEEG\nCz\tEEG\n")
    raw, header = read_with_header(path)
    assert raw.ch_names == ["Fp1", "Cz", "O2"]
    assert header.problems == read_header(path).problems == [INSIDE]
    assert header.electrodes == read_header(path).electrodes == ("Fp1", "Cz", "O2")


@pytest.mark.parametrize("factor", [1e6, 1e3, 1e-6])
def test_a_channel_of_another_unit_is_marked_bad(factor: float, tmp_path: Path) -> None:
    volts = 1e-6 * noise()
    volts[2] *= factor
    raw, header = read_with_header(write_fif(tmp_path / "a_raw.fif", volts, FOUR))
    assert raw.info["bads"] == ["Cz"]
    assert header.problems == ["Cz: an amplitude that the unit of the others cannot have, marked bad"]


@pytest.mark.parametrize("most", [b"-400", b"nan", b"inf"])
@pytest.mark.parametrize("field", [0, 2])  # the physical range, the digital one
def test_a_channel_without_a_range_is_marked_bad(field: int, most: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    start = 256 + 5 * (16 + 80 + 8 + 8 * field)  # least and most of five signals
    content[start + 8 : start + 16] = b"-400    "
    content[start + 48 : start + 56] = most.ljust(8)
    path.write_bytes(content)
    raw, header = read_with_header(path)
    assert raw.info["bads"] == ["T7"]
    assert header.problems == ["T7: no range of amplitude in the header, marked bad"]


def fill_with_nul(content: bytearray) -> None:
    content[:8] = b"0".ljust(8, b"\0")
    for start, stop in ((184, 192), (236, 256), (256, 256 + 5 * 16), (256 + 5 * 96, 256 + 5 * 104)):
        for place in range(start, stop):
            if content[place] == 32 and not content[place : place + 2].strip():
                content[place] = 0


def replace_all(old: bytes, new: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[256:] = content[256:].replace(old, new.ljust(len(old)))

    return change


def set_clock(text: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[168:184] = b"12.08.09" + text

    return change


@pytest.mark.parametrize(
    "change",
    [
        fill_with_nul,
        replace_all(b"Fp1       ", b"Fp1\0garbag"),
        *(
            replace_all(b"uV      ", unit)
            for unit in (b"UV", b"\xc2\xb5V", b"\xce\xbcV", b"\xb5v", b"\xe6V", b"microV")
        ),
        replace_all(b"uV      ", b"uV\0\0\0\0\0\0"),
        set_clock(b"24.00.00"),
        set_clock(b"10.59.60"),
    ],
)
def test_headers_that_mne_does_not_read_as_meant(change: Callable[[bytearray], None], tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    expected = mne.io.read_raw(path, verbose="error").get_data()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    for preload in (True, False):
        raw = read_recording(path, preload=preload)
        assert raw.ch_names == list(FOUR)
        np.testing.assert_array_equal(raw.get_data(), expected)


@pytest.mark.parametrize(
    ("time", "recorded"),
    [
        (b"24.00.00", datetime(2009, 8, 13)),
        (b"10.59.60", datetime(2009, 8, 12, 11)),
        (b"10:05:06", datetime(2009, 8, 12, 10, 5, 6)),
        (b"25.00.00", None),
    ],
)
def test_start_times(time: bytes, recorded: datetime | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    content[88:168] = b" " * 80
    set_clock(time)(content)
    path.write_bytes(content)
    found = read_edf_header(path)
    assert found.recorded == recorded
    assert len(found.notes) == (time in {b"24.00.00", b"10.59.60"})
    read_recording(path)


@pytest.mark.parametrize(("patient", "sex"), [("DOE M ROE", None), ("7 M X X Age:35", "M"), ("M F", None)])
def test_sex_in_the_free_text_of_a_plain_edf(patient: str, sex: str | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    content[8:88] = patient.ljust(80).encode()
    content[192:236] = b" " * 44
    path.write_bytes(content)
    assert read_edf_header(path).sex == sex


def test_nothing_but_annotations(tmp_path: Path) -> None:
    path = write(tmp_path / "a.edf")
    content = bytearray(path.read_bytes())
    tail = content[256:]
    widths = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
    fields, start = b"", 0
    for width in widths:  # only the last of five signals, the annotations
        fields += tail[start + 4 * width : start + 5 * width]
        start += 5 * width
    content[184:192], content[252:256] = b"512     ", b"1   "
    content[236:252] = b"1       0       "
    path.write_bytes(content[:256] + fields + b"+0\x14\x14\0".ljust(200, b"\0"))
    assert refusal(path) == "contains no signal, only annotations; expected EEG"


def test_a_bdf_called_edf(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bdf").rename(tmp_path / "a.edf")
    assert refusal(path) == "a BDF by its content; rename it so"


@pytest.mark.parametrize(
    ("birth", "age"),
    [("", None), ("BirthDate=\n", None), ("BirthDate=01/01/1960\n", 60), ("BirthDate=01/01/60\n", 60)],
)
def test_persyst_without_a_birth_date(
    birth: str, age: float | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_persyst(tmp_path, f"First=Anna\nSex=Female\n{birth}", encoding="latin-1")
    raw, header = read_with_header(path)
    assert (header.sex, header.recorded) == ("F", datetime(2020, 1, 1, 10))
    assert header.age == (age and pytest.approx(age, abs=0.01))
    assert header.problems == []
    np.testing.assert_allclose(raw.get_data() * 1e6, (10 * noise()).astype("<i2") / 10, atol=1e-9)
    assert [(a["onset"], a["description"]) for a in raw.annotations] == [(5, "Müller blinks")]
    assert capfd.readouterr() == ("", "")
    assert "Anna" not in repr(raw.info)


def test_microvolts_of_brainvision_with_a_greek_letter(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    expected = read_recording(path).get_data()
    path.write_text(path.read_text("utf-8").replace("\u00b5V", "\u03bcV"), encoding="utf-8")
    np.testing.assert_allclose(read_recording(path).get_data(), expected, rtol=1e-12)


def test_markers_in_latin_1(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, ["Comment,Mïchel,129,1,0"], codepage="latin-1")
    (annotation,) = read_recording(path).annotations
    assert (annotation["onset"], annotation["description"]) == (1, "Comment/Mïchel")


def test_a_reader_whose_package_is_not_installed() -> None:
    text = "For reading ANT files to work, the module antio is needed, but it could not be imported."
    from eeg.io.reader import _reason

    expected = "needs a package that is not installed: pip install 'hebbian-eeg[formats]'"
    assert _reason(isolated.ReaderError("RuntimeError", text, None), Path("a.cnt")) == expected


def test_impedances_of_ant_within_a_recording_are_joints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ANT's amplifier measures them whenever it starts and stops."""
    (tmp_path / "a.cnt").write_bytes(b"RIFF" * 1000)
    raw = mne.io.RawArray(1e-6 * noise(), mne.create_info(list(FOUR), RATE, "eeg"), verbose="error")

    def opened(path: Path) -> tuple[mne.io.BaseRaw, list[str]]:
        return raw.copy(), []

    monkeypatch.setattr("eeg.io.reader.open_isolated", opened)
    raw.set_annotations(mne.Annotations([0, SECONDS - 0.01], 0, "impedance"))
    assert len(read_recording(tmp_path / "a.cnt").annotations) == 2
    raw.set_annotations(mne.Annotations([0, 7, SECONDS - 0.01], 0, "impedance"))
    assert refusal(tmp_path / "a.cnt") == "joined from pieces, such as at 7.0 s; split it there"


def test_a_marker_file_that_is_missing(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path, None)
    note = "its marker file is missing, so neither seizures nor joints are known"
    assert read_with_header(path)[1].problems == read_header(path).problems == [note]


def test_signals_of_brainvision_that_are_not_as_long_as_announced(tmp_path: Path) -> None:
    path = write_brainvision(tmp_path)
    samples = noise().shape[1]
    header = path.read_text(encoding="utf-8").replace("[Binary", f"DataPoints={samples}\n\n[Binary")
    path.write_text(header, encoding="utf-8")
    assert read_header(path).notes == ()
    (tmp_path / "a.eeg").write_bytes((tmp_path / "a.eeg").read_bytes()[:-13])
    assert read_header(path).notes == (
        f"holds {samples - 2} of the {samples} samples that its header announces",
        "the 3 bytes after its last sample are ignored",
    )


def test_a_signal_file_that_is_missing(tmp_path: Path) -> None:
    assert "a file that it names is missing" in refusal(write_brainvision(tmp_path, data="old.eeg"))


def test_annotations_outside_the_signal(tmp_path: Path) -> None:
    path = set_times(write(tmp_path / "a.edf"), range(SECONDS), "+90\x14Seizure\x14\0")
    assert read_with_header(path)[1].problems == ["annotations outside its signal are cut off"]


def test_an_unknown_warning_is_not_quoted() -> None:
    text = "Muster, Anna is odd"
    assert notes_from([text, text]) == ["MNE warns of it; open it with mne.io.read_raw to see the text"]
