"""Videos as patches: which pictures are kept, where units are, and what is refused."""

import numpy as np
import pytest
import rooms
from ml_collections import ConfigDict

from gfvad.base.types import ConfigError, DataError
from gfvad.data.pictures.videos import PictureSet, open_pictures
from gfvad.settings.kinds import default_config


def settings(**changes) -> ConfigDict:
    data = default_config("novelty").data
    data.update({"layout": "pictures", "test": "auto", "modalities": ("grey", "texture")})
    data.update({"height": 32, "width": 64, "fps": 10.0, "pictures_a_second": 5.0})
    data.update({"grids": ("1x2", "2x4")} | changes)
    return data


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return rooms.write_room(tmp_path_factory.mktemp("room"))


def test_every_second_picture_is_kept_and_a_patch_stays_where_it_is(room):
    train = PictureSet("room", room, settings()).open_train()
    assert len(train) == 4 and train.places == 10 and train.groups == 2
    tracks, units = train.tracks[0], train.units(0)
    assert tracks.frame[:20].tolist() == list(range(0, 40, 2)) and units.hold == 2
    assert tracks.person.tolist() == np.repeat(np.arange(10), 20).tolist()
    assert units.group.tolist() == [0] * 40 + [1] * 160 and units.frames == 40
    assert tracks.box[0].tolist() == [0, 0, 32, 32] and tracks.box[-1].tolist() == [48, 16, 64, 32]
    features = train.features(0)
    assert features["grey"].shape == (200, 16) and features["texture"].shape == (200, 32)
    assert train.fps(0) == 10.0
    code = train.code(0, [""], True)
    assert code.tolist() == tracks.person.tolist()
    assert not train.code(0, [""], False).any()
    # four videos are cut in two parts each
    assert len(np.unique(np.concatenate(train.parts))) == 8


def test_labels_are_found_and_a_folder_of_normal_video_needs_none(room, tmp_path):
    test = PictureSet("room", room, settings()).open_test()
    assert test.labels is not None
    assert [int(y.sum()) for y in test.labels] == [0, 20] and test.lengths == [40, 40]
    assert PictureSet("room", room, settings(test="")).labelled is False
    alone = PictureSet("room", room / "training", settings())
    assert len(alone.train) == 4 and not alone.labelled
    rooms.write_room(tmp_path / "plain", labelled=False)
    assert not PictureSet("room", tmp_path / "plain", settings()).labelled
    with pytest.raises(DataError, match="no folder of test videos"):
        PictureSet("room", tmp_path / "plain", settings(test="testing"))
    with pytest.raises(DataError, match="no test videos in layout 'normal'"):
        PictureSet("room", room / "training", settings(test="testing"))
    (tmp_path / "plain" / "training" / "notes.txt").write_text("of the day")
    assert "notes.txt" in PictureSet("room", tmp_path / "plain", settings()).rule
    # a test part that is there must be whole
    (tmp_path / "plain" / "testing" / "00").mkdir(parents=True)
    with pytest.raises(DataError, match="00"):
        PictureSet("room", tmp_path / "plain", settings())
    assert len(open_pictures("room", room / "testing" / "01", settings())) == 1


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"grids": ("4",)}, "ROWSxCOLUMNS"),
        ({"grids": ("0x4",)}, "ROWSxCOLUMNS"),
        ({"grids": ("3x4",)}, "config.data.height = 32: no multiple of 12"),
        ({"grids": ("2x5",)}, "config.data.width = 64: no multiple of 20"),
    ],
)
def test_grids_that_do_not_fit_are_refused(room, changes, said):
    with pytest.raises(ConfigError, match=said):
        PictureSet("room", room, settings(**changes))
