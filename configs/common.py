"""Every default of the project, once, with what it means. A dataset's file states only what
differs."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = ConfigDict()
    c.variant = ""  # set by configs/NAME.py:VARIANT; part of the run's name in results
    c.seed = 0  # the run's only seed: initial parameters, shuffling, dropout, random pairs

    c.data = ConfigDict()
    c.data.dataset = "xd_violence"  # name written into every result
    c.data.test_name = "test"  # what the split that is evaluated is called in results
    # reader: xd_violence | ucf_crime | ucf_logits | shanghaitech | tevad | ped2_weak | vadclip |
    # generic
    c.data.layout = "xd_violence"
    c.data.root = ""  # folder of the features; "" means none is on disk
    # folder written by `python -m gfvad.prepare --out=DIR`, used instead of root; "" prepares root
    # into the cache
    c.data.records = ""
    # True: missing real features are an error instead of the simulated set
    c.data.require_real = False
    c.data.modalities = ("rgb", "audio")  # feature sets to fuse, by the layout's names
    c.data.captions = ""  # JSON of timed sentences, relative to root; needed by the modality "text"
    c.data.text_encoder = "minilm"  # sentence encoder: minilm | hash (weightless, for tests)
    # a unit without a sentence takes the nearest one (nearest), the same fading with the gap in
    # time (decay), or none (overlap)
    c.data.text_assign = "nearest"
    # prepared records and text embeddings; "" means $GFVAD_CACHE or ~/.cache/gfvad
    c.data.cache_dir = ""
    # a damaged video of prepared records: error | skip (leave it out, counted in the results)
    c.data.on_corrupt = "error"
    # part of the training videos held out, stratified by label, by hash of the name
    c.data.validation_fraction = 0.1
    c.data.train_units = 200  # N of a training example
    # a longer video is cut to N by: uniform (evenly spaced units) | window (random) | mean (N
    # segment means)
    c.data.train_sampling = "uniform"
    # static lengths of evaluation; a longer video is cut into windows of the last
    c.data.eval_lengths = (200, 400, 800)
    # full (own length, padded to eval_lengths) | segments (N segment means, as the row head needs)
    c.data.eval_mode = "full"
    c.data.eval_batch_size = 16  # videos (windows) a step over all devices
    c.data.clock = False  # batches say when units are, in seconds
    # feature statistics of the training split taken off: none | center | standardize
    c.data.standardize = "center"

    # damage put into one modality on purpose, see gfvad/data/corrupt.py
    c.data.corruption = ConfigDict()
    c.data.corruption.at = "none"  # none | train | test | both: the videos that are damaged
    c.data.corruption.modality = ""  # one of data.modalities
    # missing (all zero) | noise | shift (in time) | swap (with another video's)
    c.data.corruption.kind = "missing"
    # missing, swap: share of videos; noise: its deviation over the features' root mean square;
    # shift: units, later where positive
    c.data.corruption.amount = 0.0

    c.data.simulated = ConfigDict()  # the embedded default set, see gfvad/data/simulate
    c.data.simulated.train_videos = 240
    c.data.simulated.test_videos = 80
    c.data.simulated.seed = 11
    c.data.simulated.crops = 5
    # its longest video: takes the place of train_units and eval_lengths, which are those of the
    # real set
    c.data.simulated.units = 120

    c.model = ConfigDict()
    # graph_fusion | feature_fusion (what graphs are compared with), see
    # gfvad/tasks/fusion/registry.py
    c.model.name = "graph_fusion"
    c.model.embed_dim = 64  # width of the content path of the gnn head
    c.model.dropout = 0.3  # on unit embeddings
    # modalities whose features' length, 0 to 1, says how much a unit counts (text with
    # data.text_assign = "decay")
    c.model.confidence = ()
    c.model.input_dropout = 0.0  # on input features of the content path
    c.model.input_dropout_shared = False  # the same features are dropped from all units of a video
    # training: share of the modalities that a video does without, as wholes, never all of them
    c.model.modality_dropout = 0.0
    # training: share of the fused graphs' edges that the head does not see
    c.model.edge_dropout = 0.0

    c.model.relation = ConfigDict()  # section 1: relationship graphs
    c.model.relation.similarity = "cosine"  # cosine | cosine01 | rbf
    c.model.relation.projection = 0  # width of a learned projection before the similarity; 0: none
    c.model.relation.sigma = 0.0  # rbf width; 0: median distance of the video; < 0: learnable
    c.model.relation.threshold = -1.0  # edges below are set to 0; -1 keeps all
    c.model.relation.knn = 0  # keep the k nearest neighbours of each unit; 0 keeps all
    c.model.relation.temporal_tau = 0.0  # > 0 adds the graph exp(-|i-j|/tau) as a further modality
    # > 0 adds exp(-|t_i-t_j|/seconds) over the units' times (needs data.clock)
    c.model.relation.temporal_seconds = 0.0
    # feature sets graphs are built on: of raw, filtered, residual
    c.model.relation.sources = ("raw",)

    c.model.expansion = ConfigDict()  # section 2
    c.model.expansion.kind = "hadamard"  # hadamard | walk | diffusion
    c.model.expansion.order = 4  # P = Q; a graph has order + 1 terms
    # R^(0): ones | identity (hadamard only; walk and diffusion start at I)
    c.model.expansion.zeroth = "ones"
    c.model.expansion.restart = 0.15  # a of the diffusion

    c.model.fusion = ConfigDict()  # section 3
    c.model.fusion.form = "cp"  # full (two graphs) | outer | cp
    c.model.fusion.rank = 4  # r of cp
    c.model.fusion.parametrisation = "free"  # free | nonneg | simplex
    # coefficients start near: mean (the graphs themselves) | minterms (products of R_m and 1 - R_m,
    # another in each component)
    c.model.fusion.start = "mean"
    # all | random_pair (two drawn each training step, as in the paper)
    c.model.fusion.graphs = "all"
    # False drops every term that multiplies two different graphs (ablation)
    c.model.fusion.cross_terms = True
    # with cross_terms False: channel g is a polynomial of graph g alone (ablation)
    c.model.fusion.separate = False
    c.model.fusion.channels = 1  # fused graphs G, each with its own operator

    c.model.head = ConfigDict()  # section 4
    c.model.head.kind = "gnn"  # row (fixed N; ignores hidden) | degree | gnn | branches
    c.model.head.hidden = 32  # width of degree and gnn (row is N -> N -> 1, as in the paper)
    c.model.head.layers = 1  # message passing rounds of gnn
    c.model.head.relations = True  # branches: one of degree statistics beside those of content
    # branches: weight of each in the sum (modalities, gnn where layers > 0, graph); () is 1 each
    c.model.head.gates = ()
    c.model.head.detach = False  # branches: each learns from its own loss only
    # branches: share of abnormal units that a modality's branch starts from, which is what it says
    # of a unit that does not count
    c.model.head.prior = 0.5
    # branches, foil late: score of a unit that does not count in a modality; 0: the branch's own
    # learnt constant
    c.model.head.absent = 0.0
    c.model.head.mix = 0.5  # branches: share of the sum that is diffused over the fused graph
    c.model.head.alpha = 0.5  # edge threshold of the weighted degree
    c.model.head.topk = 8  # neighbours in the top-k mean statistic

    c.model.filter = ConfigDict()  # sparse feature filter, sparse_filter section 1
    c.model.filter.modalities = ()  # modalities that pass through a filter; () is off
    c.model.filter.experts = 63  # routed experts E
    c.model.filter.topk = 7  # experts kept for a unit
    c.model.filter.bottleneck = 8  # b
    c.model.filter.scale = 2.0  # factor on the renormalised router weights

    # what fuses in place of graphs where model.name is "feature_fusion", see
    # gfvad/tasks/fusion/foils.py
    c.model.foil = ConfigDict()
    # concat | add | product | gated | bilinear | cross_attention | mtn_concat | mtn_add | late
    c.model.foil.kind = "concat"
    c.model.foil.hidden = 32  # width of the perceptron after the fusion (late has none)
    c.model.foil.rank = 32  # bilinear: factors of the low-rank product
    c.model.foil.heads = 4  # cross_attention: heads, a divisor of embed_dim
    # mtn: channels of each of its four branches; 0: a quarter of embed_dim, as published
    c.model.foil.width = 0

    c.loss = ConfigDict()  # section 5; weight 0 switches a term off
    # the video score is the mean of its top max(1, n_units // divisor) units
    c.loss.topk_divisor = 16
    c.loss.label_smoothing = 0.0
    c.loss.variance = 0.0  # lambda of the degree-variance regulariser (paper, Eq. 7)
    c.loss.variance_alpha = 0.8
    c.loss.variance_k = 11
    c.loss.smoothness = 0.0  # temporal smoothness of scores (RTFM 8e-4)
    c.loss.sparsity = 0.0  # sparsity of scores (RTFM 8e-3)
    c.loss.branch = 1.0  # multiple-instance BCE of each branch of the head "branches" by itself
    c.loss.unit_normal = 0.0  # cross entropy of every unit of normal videos (and of every branch's)
    # the same of abnormal videos: wrong for most units, but as a small term it starts
    # multiple-instance learning rightly
    c.loss.unit_abnormal = 0.0
    c.loss.unit_abnormal_steps = 0  # steps over which that term fades out; 0: it stays
    c.loss.consistency = 0.0  # branches learn the fused scores of units of abnormal videos
    c.loss.balance = 0.001  # expert balance
    # filtered features predict the raw ones on normal videos (only with a filter)
    c.loss.reconstruction = 1.0

    c.optim = ConfigDict()
    c.optim.name = "adamw"  # adamw | adam | sgd
    c.optim.learning_rate = 1e-3
    c.optim.graph_rate = 1.0  # factor on the learning rate of the fusion coefficients
    c.optim.schedule = "cosine"  # constant | cosine (to 0 over train.steps)
    c.optim.warmup_steps = 20
    c.optim.weight_decay = 0.01
    c.optim.clip_norm = 1.0  # global gradient norm; 0: no clipping

    c.train = ConfigDict()
    c.train.steps = 600
    # models trained side by side on the same batches, from different starts; the score is the mean
    # of theirs
    c.train.members = 1
    c.train.batch_size = 64  # videos a step over all devices, half normal, half abnormal
    c.train.log_every = 20
    c.train.eval_every = 100  # validation part of the training set
    c.train.checkpoint_every = 100
    c.train.keep = 2  # last checkpoints kept; the best on validation is kept apart

    c.eval = ConfigDict()
    c.eval.metric = "auc"  # headline metric: auc | ap
    # also follow the test split while training, for the best-on-test extra only
    c.eval.every_on_test = False
    c.eval.ema = (0.9,)  # decay of the causal exponential average
    c.eval.gaussian = (5.0,)  # sigma in frames
    c.eval.bootstrap = 1000  # resamples over videos for ci95; 0: none
    c.eval.figures = True

    c.parallel = ConfigDict()
    c.parallel.backend = "pmap"  # pmap | shard_map, same numbers
    c.parallel.devices = 0  # local devices used; 0: all
    return c
