"""Every default of the predictive model (trained on normal video only), once, with what it means. A
dataset's file states only what differs.

What it shares with the fusion of features (expansion, fusion, optim, train, eval, parallel) is that
of configs/common.py.
"""

from ml_collections import ConfigDict

from configs.common import get_config as common


def get_config() -> ConfigDict:
    shared = common()
    c = ConfigDict()
    c.kind = "predictive"  # which job: weak (features, video labels) | predictive (normal frames)
    c.variant = ""
    c.seed = 0

    c.data = ConfigDict()
    c.data.dataset = "ped2"
    c.data.test_name = "test"
    # frames (training/frames/01/000.jpg) | ucsd (Train/Train001/001.tif) | videos
    # (training/videos/*) | auto
    c.data.layout = "frames"
    c.data.root = ""  # folder of the set; has no stand-in
    c.data.height = 120  # frames are resized to height x width, by area
    c.data.width = 180
    c.data.channels = 1  # 1 grey | 3 RGB
    c.data.clip_frames = 4  # frames a prediction is made from
    c.data.stride = 1  # frames between the frames of a clip
    # memmap (decoded once into the cache) | direct (decoded on demand: no disk, slower)
    c.data.store = "memmap"
    c.data.workers = 2  # threads that decode
    c.data.flow = True  # OpenCV DIS optical flow as a further motion input, target and score
    # flow is kept as means over cells of that many pixels of the original frame
    c.data.flow_cell = 8
    # JSON lines of descriptions, relative to root; "" : the model goes without text
    c.data.train_descriptions = ""
    c.data.test_descriptions = ""
    c.data.text_encoder = "minilm"  # minilm | hash (weightless, for tests)
    # patches (trained here) | tokens:FOLDER | transformers:FOLDER (frozen, see docs/data.md)
    c.data.vision = "patches"
    # ground truth, relative to root: spans of abnormal frames, 1-based, inclusive
    c.data.spans = ""
    c.data.masks = ""  # pixel masks, relative to root
    # part of the training videos held out, by hash of the name: calibration and weights are made on
    # it
    c.data.validation_fraction = 0.2
    c.data.eval_batch_size = 16  # clips a step over all devices
    # decoded frames, flow, embeddings, tokens; "" means $GFVAD_CACHE or ~/.cache/gfvad
    c.data.cache_dir = ""

    c.model = ConfigDict()
    c.model.name = "predictive"
    c.model.patch = 12  # side of a patch (token) in pixels; divides height and width
    c.model.cell = 4  # side of a cell of score maps in pixels; divides patch
    c.model.width = 128  # D
    c.model.heads = 4
    c.model.mlp = 2  # width of the feed-forward part, in D
    c.model.vision_layers = 1  # transformer layers of the trained patch encoder, per frame
    c.model.motion = True  # the motion encoder, over frame differences (and flow, with data.flow)
    c.model.motion_layers = 1
    c.model.joint_layers = 2  # gated cross-attention to text and motion
    c.model.decoder_layers = 2  # (block, filter) pairs
    # the flow into the input frames is an input too; without it the flow is a target and a score
    # alone
    c.model.flow_input = False
    # the next flow is predicted from: frame (the last frame alone: how what is seen usually moves)
    # | joint (the decoder)
    c.model.flow_from = "frame"
    # what goes around the filters to the pixel head: patch (embeddings of the last frame's, as in
    # the paper) | frame (itself) | none
    c.model.skip = "frame"
    c.model.pixel_width = 8  # channels of the two small convolutions of the pixel head
    c.model.text_hidden = 256  # hidden width of the text head
    # a small network that tells the normal pace from a faster one, trained on normal video played
    # faster
    c.model.pace = True
    # with data.flow it sees the flow too; a faster clip has its flow times the gap between its last
    # frames
    c.model.pace_flow = True
    c.model.pace_width = 64  # its channels; half of it in the first layer
    # the fused graph of token relations biases the decoder's attention
    c.model.relation_bias = True
    c.model.expansion = shared.model.expansion
    c.model.expansion.order = 2
    c.model.fusion = shared.model.fusion
    c.model.fusion.rank = 2
    c.model.filter = ConfigDict()
    c.model.filter.kind = "sffm"  # sffm | none | bottleneck (one expert, no routing) | memae | mnad
    c.model.filter.experts = 63
    c.model.filter.topk = 7
    c.model.filter.bottleneck = 8
    c.model.filter.scale = 2.0
    # how the experts are evaluated: auto | loop | folded | grouped | blocks
    c.model.filter.form = "auto"
    # memory items; 0: as in the kind's own paper (memae 2000, mnad 10)
    c.model.filter.memory_items = 0
    c.model.filter.shrink = 1.0  # hard-shrinkage threshold in units of 1 / items (memae)

    c.loss = ConfigDict()
    c.loss.frame = 1.0  # mean squared error of the next frame, pixels in [-1, 1]
    c.loss.text = 1.0  # 1 - cosine of the next description
    # the prediction must be nearer the next frame than the last (motion frame-difference contrast)
    c.loss.contrast = 1.0
    c.loss.flow = 0.1  # squared error of the next flow, in pixels a frame
    c.loss.pace = 1.0  # cross entropy of the pace network
    # mean absolute frame difference (pixels in 0..1) above which a cell counts as moving
    c.loss.pace_motion = 0.02
    c.loss.pace_still = 0.1  # weight of cells that do not move
    c.loss.pace_fastest = 4  # a clip is played faster by frame gaps of 1 to that many
    c.loss.balance = 0.001  # auxiliary loss of the filters (expert balance)

    c.optim = shared.optim
    c.optim.learning_rate = 2e-3
    c.optim.weight_decay = 1e-5

    c.train = shared.train
    del c.train.members  # the predictive model is a single one
    c.train.steps = 300
    c.train.batch_size = 8  # clips a step over all devices
    c.train.eval_every = 200
    c.train.checkpoint_every = 100

    c.score = ConfigDict()
    # of those that the model has; flow too, which sees what speed sees
    c.score.terms = ("appearance", "pace", "speed", "relation", "semantic")
    # one a term; () are chosen on held-out normal video and perturbations of it
    c.score.weights = ()
    c.score.spatial = 3  # maps are averaged over that many cells square
    c.score.temporal = 13  # and the median is taken over that many frames
    c.score.text_frames = 15  # descriptions' residuals are averaged over that many frames
    c.score.causal = False  # windows end at the frame (streaming) instead of being centred at it
    c.score.ridge = 1e-3  # added to the variances of the semantic residual
    c.score.perturbations = 4  # perturbed copies of each held-out video
    c.score.floors = True  # the floors of optical flow are computed beside the score
    c.score.clip_seconds = 6.0  # length of the annotated mp4

    c.eval = shared.eval
    c.parallel = shared.parallel
    return c
