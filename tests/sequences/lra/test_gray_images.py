import gzip
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from ulmus.errors import DataError
from ulmus.sequences import open_sequences, task_splits


def cifar_images(count, seed):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 3072), dtype=np.uint8), random.integers(0, 10, count).tolist()


@pytest.fixture
def cifar(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for seed, name in enumerate(["test_batch", *(f"data_batch_{k}" for k in range(1, 6))]):
        data, labels = cifar_images(8, seed)
        content = {"data": data, "labels": labels, "batch_label": name}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return tmp_path


def pillow_gray(data):
    colours = data.reshape(3, 32, 32).transpose(1, 2, 0)
    return np.asarray(Image.fromarray(colours).convert("L")).reshape(-1)


def test_cifar_is_gray_as_pillow_makes_it(cifar):
    splits = task_splits("image", cifar)
    assert [len(part) for part in splits] == [36, 4, 8]
    assert splits.test.name == "Image (CIFAR-10, gray)"
    assert splits.test.classes[9] == "truck"
    data, labels = cifar_images(8, 0)
    for index in range(8):
        image, label = splits.test[index]
        np.testing.assert_array_equal(image, pillow_gray(data[index]))
        assert label == labels[index]
    everything = {pillow_gray(row).tobytes() for seed in range(1, 6) for row in cifar_images(8, seed)[0]}
    found = {part[k][0].tobytes() for part in splits[:2] for k in range(len(part))}
    assert found == everything


class Harmful:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Harmful()),
        pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]}, protocol=2),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}, protocol=2),
        pickle.dumps({"labels": [0, 1]}, protocol=2),
        b"",
    ],
)
def test_other_files_are_refused(cifar, content, capsys):
    (cifar / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_3"):
        task_splits("image", cifar)
    assert not capsys.readouterr().out
    (cifar / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"data_batch_3 does not exist"):
        task_splits("image", cifar)


def write_idx(path, values):
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def fashion(tmp_path):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    labels = random.integers(0, 10, 30, dtype=np.uint8)
    write_idx(folder / "train-images-idx3-ubyte.gz", images[:20])
    write_idx(folder / "train-labels-idx1-ubyte", labels[:20])
    write_idx(folder / "t10k-images-idx3-ubyte", images[20:])
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", labels[20:])
    return folder, images, labels


def test_fashion_is_padded_and_keeps_its_name(fashion):
    folder, images, labels = fashion
    splits = task_splits("image", folder)
    assert [len(part) for part in splits] == [18, 2, 10]
    assert splits.train.name == "Fashion-MNIST, padded to 32 x 32"
    for index in range(10):
        image, label = splits.test[index]
        square = image.reshape(32, 32)
        np.testing.assert_array_equal(square[2:30, 2:30], images[20 + index])
        assert square.sum(dtype=int) == images[20 + index].sum(dtype=int)
        assert label == labels[20 + index]
    batch = open_sequences("image", folder, batch=3).train.batch(0, 0)
    assert (batch.inputs.time, batch.inputs.channels, batch.lengths) == (1024, 16, None)


def test_damaged_idx_files_are_named(fashion):
    folder, images, _ = fashion
    file = folder / "train-images-idx3-ubyte.gz"
    for content in (b"\x1f\x8bhalf", gzip.compress(b"\0\0\x0d\3" + bytes(12)), file.read_bytes()[:-20]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read"):
            task_splits("image", folder)
    write_idx(file, images[:19])
    with pytest.raises(DataError, match="as many images as labels"):
        task_splits("image", folder)
    file.unlink()
    with pytest.raises(DataError, match="holds no train-images-idx3-ubyte"):
        task_splits("image", folder)
