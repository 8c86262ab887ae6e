import os
import shutil
import subprocess
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from digits_examples import make_recordings, write_wav

from ulmus.errors import ConfigError, DataError, MissingToolError, UlmusError
from ulmus.files.lock import only_one
from ulmus.sequences.digits import speech, spoken_digits
from ulmus.sequences.digits.clips import open_digits
from ulmus.sequences.digits.cochlea import hear, read_wav
from ulmus.sequences.digits.shd import SpikeFile
from ulmus.sequences.digits.spoken_digits import find_recordings, make_spoken_digits


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return make_recordings(tmp_path_factory.mktemp("recordings") / "wavs" / "deeper").parent


@pytest.fixture(scope="module")
def made(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "digits"
    make_spoken_digits(recordings, out, workers=1)
    return out


def content(path):
    file = SpikeFile(path)
    with h5py.File(path) as raw:
        clips = [name.decode() for name in raw["extra/clip"]]
    return {
        clip: (file.labels[i], file.speakers[i], *(part.tolist() for part in file.spikes(i)))
        for i, clip in enumerate(clips)
    }


def same_content(one, other):
    return all(
        content(one / f"spoken_digits_{split}.h5") == content(other / f"spoken_digits_{split}.h5")
        for split in ("train", "test")
    )


def test_every_recording_is_in_one_of_the_files(made):
    train, test = (SpikeFile(made / f"spoken_digits_{split}.h5") for split in ("train", "test"))
    assert len(train) == 12
    assert len(test) == 6
    assert len(set(test.speakers.tolist())) == 1
    assert not set(train.speakers.tolist()) & set(test.speakers.tolist())
    assert train.classes == test.classes == spoken_digits.DIGITS["en"]
    assert train.attributes["origin"] == "recordings"
    clips = content(train.path) | content(test.path)
    assert len(clips) == 18
    with h5py.File(train.path) as raw:
        names = [name.decode() for name in raw["extra/meta_info/name"]]
        assert raw["spikes/times"].dtype.kind == raw["spikes/units"].dtype.kind == "O"
    for clip, (label, speaker, times, units) in clips.items():
        assert clip.split("/")[-1].startswith(f"{label}_{names[speaker]}_")
        assert len(times) == len(units) > 100
    assert sorted(file.name for file in made.iterdir()) == [
        "making.json",
        "spoken_digits_test.h5",
        "spoken_digits_train.h5",
    ]


def test_spikes_are_what_the_cochlea_makes_of_the_recording(made, recordings):
    clips = content(made / "spoken_digits_train.h5")
    clip, (_, _, times, units) = next(iter(clips.items()))
    # Another seed: the same clip, not the same spikes.
    other = hear(read_wav(recordings / clip), 12345)
    bins = np.arange(0, 701, 50)
    one, two = (np.histogram(found, bins)[0] for found in (units, other.channel))
    assert np.corrcoef(one, two)[0, 1] > 0.95
    assert max(times) < 700 / 8000
    assert times != other.time_s.tolist()


def test_the_files_open_as_digits(made):
    splits = open_digits(made)
    assert [len(part) for part in splits] == [6, 6, 6]


@pytest.mark.slow
def test_the_number_of_workers_does_not_matter(made, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(spoken_digits, "_CHUNK", 10)
    make_spoken_digits(recordings, tmp_path / "two", workers=2)
    assert same_content(made, tmp_path / "two")


def test_an_archive_is_read_like_a_folder(made, recordings, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "wavs"), "zip", recordings)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("__MACOSX/deeper/._0_ann_0.wav", b"not sound")
        file.writestr("README.txt", b"not sound")
    make_spoken_digits(archive, tmp_path / "out", workers=1)
    assert same_content(made, tmp_path / "out")


def test_an_interrupted_conversion_goes_on(made, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(spoken_digits, "_CHUNK", 5)
    heard = []

    def interrupt(done, total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_spoken_digits(recordings, tmp_path, workers=1, on_clip=interrupt)
    assert len(list((tmp_path / "pending").iterdir())) == 2
    assert not list(tmp_path.glob("*.h5"))
    make_spoken_digits(recordings, tmp_path, workers=1, on_clip=lambda done, total: heard.append(done))
    assert heard == [10, 15, 18]
    assert same_content(made, tmp_path)
    # Finished, nothing is heard again.
    monkeypatch.setattr(spoken_digits, "hear", None)
    make_spoken_digits(recordings, tmp_path, workers=1)


def test_other_settings_need_another_folder(made, recordings):
    with pytest.raises(
        ConfigError, match="begun with other settings: seed: asked for 1, present 0; test_speakers"
    ):
        make_spoken_digits(recordings, made, seed=1, test_speakers=["ann", "bob"])
    with pytest.raises(ConfigError, match="begun with other settings: test_speakers"):
        make_spoken_digits(recordings, made, test_speakers=["bob", "cy"])


def test_speakers_of_the_test_can_be_named(recordings, tmp_path):
    make_spoken_digits(recordings, tmp_path, test_speakers=["ann", "cy"], workers=1)
    assert set(SpikeFile(tmp_path / "spoken_digits_test.h5").speakers.tolist()) == {0, 2}
    for wanted in ([], ["ann", "bob", "cy"], ["dan"]):
        with pytest.raises(ConfigError, match="expected some but not all of"):
            make_spoken_digits(recordings, tmp_path, test_speakers=wanted)


def test_german_digits_are_ten_to_nineteen(tmp_path):
    time = np.arange(400) / 8000
    (tmp_path / "wavs").mkdir()
    for language in ("en", "de"):
        for speaker in ("01", "x-2"):
            name = f"lang-{language}_speaker-{speaker}_trial-5_digit-4.wav"
            write_wav(tmp_path / "wavs" / name, np.sin(2 * np.pi * 500 * time))
    files = make_spoken_digits(tmp_path / "wavs", tmp_path / "out", workers=1)
    for file in map(SpikeFile, files.values()):
        assert sorted(file.labels.tolist()) == [4, 14]
        assert file.classes[14] == "vier"
        assert len(file.classes) == 20


def test_sources_that_do_not_tell_are_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere does not exist"):
        find_recordings(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no WAV files"):
        find_recordings(tmp_path / "empty")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(DataError, match="not a readable ZIP archive"):
        find_recordings(tmp_path / "text.zip")
    for name, message in (("seven.wav", "does not tell"), ("lang-fr_speaker-1_digit-2.wav", "language 'fr'")):
        folder = tmp_path / name.split(".")[0]
        make_recordings(folder)
        write_wav(folder / name, np.ones(400))
        with pytest.raises(DataError, match=message):
            make_spoken_digits(folder, tmp_path / "out")


def test_damaged_recordings_are_told_by_name(tmp_path):
    folder = make_recordings(tmp_path / "wavs")
    (folder / "3_bob_0.wav").write_bytes((folder / "3_bob_0.wav").read_bytes()[:300])
    with pytest.raises(DataError, match=r"3_bob_0\.wav is not a whole WAV file"):
        make_spoken_digits(folder, tmp_path / "out", workers=1)


def test_a_folder_for_which_recordings_were_refused_takes_others(recordings, made, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(recordings, damaged)
    first = min(damaged.rglob("*.wav"))
    first.write_bytes(first.read_bytes()[:30])
    with pytest.raises(DataError, match=first.name):
        make_spoken_digits(damaged, tmp_path / "out", workers=1)
    make_spoken_digits(recordings, tmp_path / "out", workers=1)


def test_folders_in_other_use_are_refused(recordings, tmp_path):
    (tmp_path / "shd_train.h5").touch()
    with pytest.raises(DataError, match=r"holds 'shd_train\.h5' but no making\.json"):
        make_spoken_digits(recordings, tmp_path)
    with pytest.raises(DataError, match="is a file"):
        make_spoken_digits(recordings, tmp_path / "shd_train.h5")
    with pytest.raises(ConfigError, match="workers=0"):
        make_spoken_digits(recordings, tmp_path / "a", workers=0)
    with pytest.raises(ConfigError, match="seed=-1"):
        make_spoken_digits(recordings, tmp_path / "a", seed=-1)


def test_speech_needs_espeak(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="espeak-ng is not installed"):
        speech.speak_digits(tmp_path)
    with pytest.raises(ConfigError, match="trials=0: expected a whole number from 1"):
        speech.speak_digits(tmp_path, trials=0)
    with pytest.raises(ConfigError, match="expected at least one of each"):
        speech.speak_digits(tmp_path, speakers=[])


def engine(monkeypatch, say):
    """A stand-in for espeak-ng that has every voice that Ulmus asks for."""

    def run(command, **_):
        table = ""
        if command[1] == "--voices":
            languages = {
                accent
                for manner in (speech.FEW, speech.MANY)
                for of in manner.accents.values()
                for accent in of
            }
            table = "\n".join(
                ["Pty Language", *(f" 5  {name}  --/M  Name  gmw/{name}" for name in languages)]
            )
        elif command[1] == "--voices=variant":
            variants = {*speech.SPEAKERS, *speech.VOICES} - {"Storm"}
            table = "\n".join(
                ["Pty Language", *(f" 5  variant  --/M  Two Words  !v/{name}  (en 5)" for name in variants)]
            )
        else:
            say(command)
        return subprocess.CompletedProcess(command, 0, table, "")

    monkeypatch.setattr(speech.shutil, "which", lambda name: "/bin/espeak-ng")
    monkeypatch.setattr(speech.subprocess, "run", run)


def test_a_voice_that_the_engine_lacks_is_named(tmp_path, monkeypatch):
    # The engine itself would speak with its plain voice.
    engine(monkeypatch, say=None)
    with pytest.raises(UlmusError, match="no voice Storm; expected all"):
        speech.speak_digits(tmp_path / "wavs", trials=1, manner=speech.MANY)
    assert not (tmp_path / "wavs").exists()


def test_what_a_broken_engine_says_is_passed_on(tmp_path, monkeypatch):
    engine = tmp_path / "espeak-ng"
    engine.write_text("#!/bin/sh\necho 'no libespeak-ng.so.1' >&2\nexit 127\n")
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UlmusError, match=r"`espeak-ng --voices` failed \(no libespeak-ng\.so\.1\)"):
        speech.speak_digits(tmp_path / "wavs", trials=1)
    engine.write_text("#!/bin/sh\nprintf 'Pty Language\\n\\n 5 en-us x\\n'\n")
    with pytest.raises(UlmusError, match="no voice de, f1"):
        speech.speak_digits(tmp_path / "wavs", trials=1)


def test_two_processes_do_not_speak_into_one_folder(tmp_path, monkeypatch):
    engine(monkeypatch, say=None)
    with (
        only_one(tmp_path / "wavs", "filled"),
        pytest.raises(ConfigError, match="is being filled with spoken digits by"),
    ):
        speech.speak_digits(tmp_path / "wavs", trials=1)


def test_arguments_that_cannot_be_spoken_leave_nothing_behind(tmp_path, monkeypatch):
    engine(
        monkeypatch, say=lambda command: write_wav(command[command.index("-w") + 1], np.zeros(9000), 22050)
    )
    with pytest.raises(ConfigError, match="seed=-1: expected a whole number from 0"):
        speech.speak_digits(tmp_path / "wavs", seed=-1)
    for wrong in ({"trials": 2.5}, {"trials": 2.0}, {"seed": 1.5}, {"trials": True}):
        with pytest.raises(ConfigError, match=r"(trials|seed)=.*: expected a whole number"):
            speech.speak_digits(tmp_path / "wavs", **wrong)
    assert not (tmp_path / "wavs").exists()
    for trials in (1, 2):  # a folder in which nothing came to be takes other settings
        with pytest.raises(UlmusError, match="silent on 'zero' with voice en-us"):
            speech.speak_digits(tmp_path / "wavs", trials=trials)


def test_speech_becomes_labelled_recordings(tmp_path, monkeypatch):
    def chirp(command):  # as long as the word, with silence around it
        voice, word, out = command[2], command[-1], command[command.index("-w") + 1]
        assert voice in ("en-us+m1", "en-us+f2", "de+m1", "de+f2")
        sound = np.sin(np.arange(300 * len(word)) * (0.2 if voice.endswith("m1") else 0.4))
        write_wav(out, np.concatenate([np.zeros(500), sound, np.zeros(3000)]), 22050)

    engine(monkeypatch, chirp)
    folder = speech.speak_digits(tmp_path / "wavs", trials=1, speakers=("m1", "f2"))
    found = find_recordings(folder)
    assert len(found) == 40
    assert {recording.language for recording in found} == {"en", "de"}
    sound = read_wav(folder / "lang-de_speaker-f2_trial-0_digit-7.wav")
    assert abs(sound.samples.size - 300 * len("sieben")) < 5
    assert sound.rate_hz == 22050


def test_many_voices_speak_english_with_noise_at_the_rate_of_a_telephone(tmp_path, monkeypatch):
    accents = set()

    def hum(command):
        accents.add(command[2].partition("+")[0])
        tone = 0.5 * np.sin(np.arange(11025) * 2 * np.pi * 500 / 22050)
        write_wav(command[command.index("-w") + 1], tone, 22050)

    engine(monkeypatch, hum)
    folder = speech.speak_digits(tmp_path / "wavs", trials=2, manner=speech.MANY, speakers=speech.VOICES[:4])
    found = find_recordings(folder)
    assert len(found) == 80
    assert {recording.language for recording in found} == {"en"}
    assert len(accents) == 5  # of voice and trial, in turns
    noise_db = []
    for recording in found:
        sound = read_wav(folder / recording.name)
        assert sound.rate_hz == 8000
        assert sound.samples.size == pytest.approx(4000, abs=20)
        middle = sound.samples[500:3500]
        parts = np.exp(2j * np.pi * 500 / 8000 * np.arange(3000))
        tone = 2 * np.mean(middle * parts.conj())
        rest = middle - np.real(tone * parts)
        assert abs(tone) == pytest.approx(0.5, rel=0.05)
        noise_db.append(20 * np.log10(rest.std() / 0.5))
    assert -71 < min(noise_db) < -60
    assert -45 < max(noise_db) < -33
    with pytest.raises(ConfigError, match="begun with other settings"):
        speech.speak_digits(folder, trials=1, manner=speech.MANY, speakers=speech.VOICES[:4])


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_has_every_voice_and_they_differ(tmp_path):
    voices = sorted(set(speech.VOICES) - {"fast", "klatt", "klatt6"})  # as plain, and twice as `caleb`
    sounds = set()
    for voice in ["plain", *voices]:
        file = tmp_path / f"{voice}.wav"
        spoken_by = "en-us" if voice == "plain" else f"en-us+{voice}"
        subprocess.run(
            ["espeak-ng", "-v", spoken_by, "-p", "50", "-s", "150", "-w", file, "seven"], check=True
        )
        sounds.add(read_wav(file).samples.tobytes())
    assert len(sounds) == len(voices) + 1
    with pytest.raises(UlmusError, match="no voice ghost"):
        speech.speak_digits(
            tmp_path, manner=replace(speech.MANY, speakers=("m1", "ghost")), speakers=["m1", "ghost"]
        )


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_espeak_says_the_digits(tmp_path):
    folder = speech.speak_digits(tmp_path, trials=1, languages=["de"], speakers=["f1"])
    seconds = [read_wav(file).samples.size / read_wav(file).rate_hz for file in folder.glob("*.wav")]
    assert len(seconds) == 10
    assert 0.15 < min(seconds) < max(seconds) < 1.5


def test_clips_of_every_speaker_can_be_held_out_instead_of_speakers(recordings, made, tmp_path):
    arguments = dict(workers=1, same_speakers=True, test_share=0.5)
    files = make_spoken_digits(recordings, tmp_path / "clips", **arguments)
    train, test = (SpikeFile(files[split]) for split in ("train", "test"))
    assert (len(train), len(test)) == (9, 9)
    groups = sorted(zip(test.speakers.tolist(), test.labels.tolist(), strict=True))
    everybody = sorted({*groups, *zip(train.speakers.tolist(), train.labels.tolist(), strict=True)})
    assert groups == everybody  # one of two takes of every digit of every speaker
    same = {**content(files["train"]), **content(files["test"])}
    assert same == content(made / "spoken_digits_train.h5") | content(made / "spoken_digits_test.h5")
    other = make_spoken_digits(recordings, tmp_path / "other", **arguments | {"seed": 5})
    assert set(content(other["test"])) != set(content(files["test"]))
    with pytest.raises(ConfigError, match="begun with other settings"):
        make_spoken_digits(recordings, tmp_path / "clips", workers=1)


def test_a_share_of_small_groups_is_held_out_over_all_of_them():
    names = [f"{digit}_{speaker}_{take}.wav" for speaker in "abc" for digit in range(4) for take in range(2)]
    recordings = [spoken_digits._recording("folder", name, "") for name in names]
    for share in (0.2, 0.25, 0.4):
        chosen = spoken_digits._test_clips(recordings, share, seed=0)
        assert sum(chosen) == round(share * len(names))
        assert max(sum(chosen[k : k + 2]) for k in range(0, len(names), 2)) == 1


def test_clips_cannot_be_held_out_together_with_speakers_or_all_of_them(recordings, tmp_path):
    with pytest.raises(ConfigError, match="one of the two"):
        make_spoken_digits(recordings, tmp_path / "out", same_speakers=True, test_speakers=["ann"])
    for share in (0, 1, 0.01):
        with pytest.raises(ConfigError, match="share"):
            make_spoken_digits(recordings, tmp_path / "out", same_speakers=True, test_share=share)
    assert not (tmp_path / "out").exists()
