import numpy as np
import pytest
from digits_examples import write_wav
from scipy.integrate import quad
from scipy.io import wavfile
from scipy.signal import resample_poly

from ulmus.errors import ConfigError, DataError
from ulmus.sequences.digits.cochlea import Sound, hear, read_wav
from ulmus.sequences.digits.cochlea.membrane import padded_length, phase_integral, transfer_blocks, velocity

CLIPS = ("lang-de_speaker-f2_digit-5", "lang-en_speaker-m1_digit-7")


def counts(times, channels):
    bins = [np.linspace(0, 1, 41), np.linspace(0, 700, 71)]
    return np.histogram2d(times, channels, bins=bins)[0].ravel()


def correlation(one, other):
    return np.corrcoef(one, other)[0, 1]


@pytest.fixture(scope="module")
def clips(reference_data):
    folder = reference_data / "golden" / "cochlea"
    return {name: (read_wav(folder / f"{name}.wav"), np.load(folder / f"{name}.npz")) for name in CLIPS}


@pytest.mark.golden
@pytest.mark.parametrize("name", CLIPS)
def test_spikes_are_those_of_the_published_program_up_to_the_seed(clips, name):
    sound, reference = clips[name]
    expected = counts(reference["time_s"], reference["channel"])
    trains = [hear(sound, seed) for seed in range(3)]
    found = [counts(*train) for train in trains]
    between_seeds = correlation(found[0], found[1])
    for train, count in zip(trains, found, strict=True):
        assert correlation(count, expected) > 0.96
        assert correlation(count, expected) > between_seeds - 0.01
        assert abs(train.time_s.size / reference["time_s"].size - 1) < 0.03
    # Not only the sums: where along the cochlea, and how far apart.
    by_place = [np.histogram(t.channel, np.arange(0, 701, 50))[0] for t in trains]
    place = np.histogram(reference["channel"], np.arange(0, 701, 50))[0]
    np.testing.assert_allclose(np.mean(by_place, axis=0), place, rtol=0.12, atol=25)


@pytest.mark.golden
@pytest.mark.parametrize("rate_hz", [8000, 48000])
def test_other_sampling_rates_give_the_same_picture(clips, rate_hz):
    sound, reference = clips[CLIPS[1]]
    common = np.gcd(rate_hz, sound.rate_hz)
    samples = resample_poly(sound.samples, rate_hz // common, sound.rate_hz // common)
    train = hear(Sound(samples, rate_hz), 0)
    assert correlation(counts(*train), counts(reference["time_s"], reference["channel"])) > 0.94


def test_phases_are_the_integral_of_the_wave_number():
    def wave_number(x, w):
        stiffness, resistance = 1e9 * np.exp(-3 * x) - 3500, 0.15 * np.sqrt(5e7) * np.exp(-1.5 * x)
        return w * np.sqrt(1 / (0.1 * (stiffness - 0.05 * w**2 - 1j * w * resistance)))

    frequencies, places = 2 * np.pi * np.array([60.0, 400, 1500, 6000]), np.array([0.0, 0.4, 1.5, 2.6, 3.4])
    found = phase_integral(frequencies, np.exp(-1.5 * places)[:, None])
    for j, w in enumerate(frequencies):
        for i, x in enumerate(places):
            parts = [
                quad(lambda p, f=f, w=w: f(wave_number(p, w)), 0, x, limit=500)[0] for f in (np.real, np.imag)
            ]
            expected = 2 * wave_number(0, w) / 3 + complex(*parts)
            np.testing.assert_allclose(found[i, j], expected, rtol=1e-6)


@pytest.mark.parametrize("frequency_hz", [250, 700, 1800, 3500])
def test_a_tone_moves_the_membrane_most_near_its_resonance(frequency_hz):
    rate_hz = 16000
    t = np.arange(rate_hz // 4) / rate_hz
    tone = np.sin(2 * np.pi * frequency_hz * t) * np.hanning(t.size)
    moved = np.concatenate(list(velocity(tone, rate_hz, 1)))
    loudest = np.sqrt((moved.astype(float) ** 2).mean(axis=1)).argmax()
    # The stiffness falls as exp(-3 x): resonance where it equals mass times squared angular frequency.
    resonance_cm = np.log(1e9 / (3500 + 0.05 * (2 * np.pi * frequency_hz) ** 2)) / 3
    assert 0 <= resonance_cm / 3.5 * 699 - loudest < 90  # damping lets it die a little before


@pytest.mark.parametrize("interpolation", [1, 3])
def test_a_tone_comes_out_with_the_gain_of_the_transfer_function(interpolation):
    rate_hz, length = 8000, 4096
    bin_of_tone = 300
    tone = np.cos(2 * np.pi * bin_of_tone / length * np.arange(length))
    moved = np.concatenate(list(velocity(tone, rate_hz, interpolation)))
    assert moved.shape == (700, length // 2 * interpolation)
    gain = np.concatenate([block[:, bin_of_tone] for block in transfer_blocks(rate_hz, length)[:6]])
    steps = np.arange(moved.shape[1]) * 2 / interpolation
    expected = (gain[:, None] * np.exp(2j * np.pi * bin_of_tone / length * steps)).real
    np.testing.assert_allclose(moved[:300], expected, atol=1e-4 * np.abs(gain).max())


def test_lengths_are_few_and_long_enough():
    lengths = [padded_length(n) for n in range(160, 20000, 7)]
    assert all(
        length >= n and length % 4 == 0 for n, length in zip(range(160, 20000, 7), lengths, strict=True)
    )
    assert len(set(lengths)) < 16


def test_the_seed_decides():
    random = np.random.default_rng(0)
    sound = Sound(random.normal(size=1600), 8000)
    one, same, other = hear(sound, 3), hear(sound, 3), hear(sound, 4)
    np.testing.assert_array_equal(one.time_s, same.time_s)
    np.testing.assert_array_equal(one.channel, same.channel)
    assert not np.array_equal(one.time_s, other.time_s)
    assert (np.diff(one.time_s) >= 0).all()
    assert one.time_s.max() < 0.2
    assert one.channel.max() < 700


def test_loudness_does_not_matter():
    sound = np.random.default_rng(0).normal(size=1600)
    np.testing.assert_array_equal(hear(Sound(sound, 8000), 0).time_s, hear(Sound(sound * 64, 8000), 0).time_s)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (np.ones(4000), 4000, "is sampled at 4000 Hz"),
        (np.ones(96000), 96000, "is sampled at 96000 Hz"),
        (np.ones(80), 8000, "lasts 0.010 s"),
        (np.ones(8000 * 21), 8000, "lasts 21.000 s"),
        (np.zeros(4000), 8000, "is silent"),
        (np.full(4000, np.nan), 8000, "not finite"),
    ],
)
def test_what_cannot_be_heard_is_said(samples, rate_hz, message):
    with pytest.raises(DataError, match=f"clip 3 .*{message}|clip 3 {message}"):
        hear(Sound(samples, rate_hz), 0, "clip 3")


def test_negative_seeds_are_refused():
    with pytest.raises(ConfigError, match="seed=-1"):
        hear(Sound(np.ones(4000), 8000), -1)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_files_of_every_width_are_read(tmp_path, width, channels):
    random = np.random.default_rng(0)
    samples = random.uniform(-0.9, 0.9, (300, channels))
    path = write_wav(tmp_path / "a.wav", samples, 11025, width, channels)
    for sound in (read_wav(path), read_wav(path.read_bytes())):
        assert sound.rate_hz == 11025
        np.testing.assert_allclose(
            sound.samples, samples.mean(axis=1), atol=2.1 / 2 ** (8 * width - 1) + 1e-7
        )


def test_floating_point_wav_files_are_read(tmp_path):
    samples = np.random.default_rng(0).normal(size=200).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", 48000, samples)
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav").samples, samples)


def test_damaged_wav_files_are_told_by_name(tmp_path):
    with pytest.raises(DataError, match=r"missing\.wav does not exist"):
        read_wav(tmp_path / "missing.wav")
    whole = write_wav(tmp_path / "a.wav", np.zeros(1000)).read_bytes()
    for content in (b"", b"RIFF", b"some text", whole[:30], whole[:700], b"\x00" * 100):
        with pytest.raises(DataError, match="is not a whole WAV file|holds no samples"):
            read_wav(content)
    with pytest.raises(DataError, match="holds no samples"):
        read_wav(write_wav(tmp_path / "b.wav", np.zeros(0)))
