"""Checkpoints in the zip format of torch.save, from its definition: the pickle's instructions by
hand, and the storages as they are."""

import struct
import zipfile

import numpy as np

KINDS = {"<f4": "FloatStorage", "<f8": "DoubleStorage", "<f2": "HalfStorage", "<i8": "LongStorage"}


def word(text):
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def reference(name):
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def table(items):
    """A dictionary of instructions."""
    return b"}(" + b"".join(word(name) + value for name, value in items.items()) + b"u"


def tensor(key, array, kind=""):
    """A tensor over the storage of a key."""
    kind = kind or KINDS[array.dtype.newbyteorder("<").str]
    pid = b"(" + word("storage") + reference(f"torch.{kind}") + word(str(key)) + word("cpu")
    storage = pid + number(array.size) + b"tQ"
    strides = [s // array.itemsize for s in array.strides]
    hooks = reference("collections.OrderedDict") + b")R"
    rest = number(0) + numbers(array.shape) + numbers(strides) + b"\x89" + hooks
    return reference("torch._utils._rebuild_tensor_v2") + b"(" + storage + rest + b"tR"


def write(path, weights, wrap="model_state_dict", extra=b"", compression=zipfile.ZIP_STORED):
    """A checkpoint {"epoch": 7, wrap: weights} of name -> array; extra: instructions of one more
    entry, 'other'."""
    body = table({name: tensor(key, x) for key, (name, x) in enumerate(weights.items())})
    entries = {"epoch": number(7), wrap: body} | ({"other": extra} if extra else {})
    storages = {
        str(key): np.ascontiguousarray(x.T if x.flags.f_contiguous else x).tobytes()
        for key, x in enumerate(weights.values())
    }
    write_archive(path, b"\x80\x02" + table(entries) + b".", storages, compression)


def write_archive(path, instructions, storages, compression=zipfile.ZIP_STORED):
    """The zip file itself."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("best/data.pkl", instructions)
        archive.writestr("best/byteorder", b"little")
        for key, data in storages.items():
            archive.writestr(f"best/data/{key}", data)
        archive.writestr("best/version", b"3\n")
