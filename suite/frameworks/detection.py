"""Object detection: detectron2, MMDetection, Ultralytics.

Elements of a sample are what its loss is divided by: matched boxes, positives, or sampled anchors.
"""

from suite.frameworks.word import CodeLocation, word

_RPN = CodeLocation(
    "facebookresearch/detectron2",
    "02b5c4e",
    "detectron2/modeling/proposal_generator/rpn.py",
    "RPN.losses",
    "0.6",
)
_HEAD = CodeLocation(
    "facebookresearch/detectron2",
    "02b5c4e",
    "detectron2/modeling/roi_heads/fast_rcnn.py",
    "FastRCNNOutputLayers.losses, box_reg_loss",
    "0.6",
)
_RETINANET = CodeLocation(
    "facebookresearch/detectron2",
    "02b5c4e",
    "detectron2/modeling/meta_arch/retinanet.py",
    "RetinaNet.losses; dense_detector.py, DenseDetector._ema_update",
    "0.6",
)
_ANCHOR = CodeLocation(
    "open-mmlab/mmdetection",
    "v3.3.0",
    "mmdet/models/dense_heads/anchor_head.py",
    "AnchorHead.loss_by_feat",
    "3.3.0",
)
_ATSS = CodeLocation(
    "open-mmlab/mmdetection",
    "v3.3.0",
    "mmdet/models/dense_heads/atss_head.py",
    "ATSSHead.loss_by_feat",
    "3.3.0",
)
_YOLOV5 = CodeLocation(
    "ultralytics/yolov5", "5081342", "utils/loss.py", "ComputeLoss.__call__; train.py, train", "7.0.14"
)
_YOLOV8 = CodeLocation(
    "ultralytics/ultralytics", "00033e8", "ultralytics/utils/loss.py", "v8DetectionLoss.loss", "8.4.190"
)

word(
    "detectron2:rpn",
    "1/(R·n_r·Lmax)",
    "Sums over images times the anchors sampled an image, a constant, then the mean over ranks.",
    unsplit="constant-normaliser",
    typed="MODEL.RPN.BATCH_SIZE_PER_IMAGE is Lmax (256)",
    source=_RPN,
)
word(
    "detectron2:fast-rcnn",
    "1/(R·V_r)",
    "The mean over the rank's sampled proposals, then over ranks; box losses have the same divisor.",
    unsplit="element-mean",
    typed="the box head of its R-CNNs",
    source=_HEAD,
    tokens=False,
)
word(
    "detectron2:retinanet",
    None,
    "Sums over a moving average of the rank's positives, then the mean over ranks.",
    unsplit="moving-average-normaliser",
    typed="MODEL.META_ARCHITECTURE: RetinaNet",
    source=_RETINANET,
    note="Starts at 100 and keeps 0.9 of itself. Each rank has its own average.",
)
word(
    "mmdet:avg_factor",
    "1/(R·V_r)",
    "Sums over the positives (or sampled anchors) of the rank's batch, then the mean over ranks.",
    unsplit="element-mean",
    typed="AnchorHead and its kind (RetinaNet, RPN)",
    source=_ANCHOR,
    known="run",
    tokens=False,
    note="An image without positives counts one.",
)
word(
    "mmdet:reduce_mean",
    "1/V",
    "Sums over the positives of all ranks.",
    unsplit="element-mean",
    typed="ATSS, FCOS, GFL and others that call reduce_mean on the count",
    source=_ATSS,
    known="run",
    tokens=False,
    note="ATSS divides its box term by the sum of the positives' centerness in place of their number.",
)
word(
    "ultralytics:yolov5",
    "n_kr/V_kr",
    "Means over a micro-batch's matches times its images, summed over micro-batches and ranks.",
    unsplit="fault:times-batch-size",
    typed="train.py of YOLOv5; micro-batches up to 64 images are accumulated",
    source=_YOLOV5,
    known="run",
    tokens=False,
    note="The loss is multiplied by the ranks too, which DDP's mean takes back.",
)
word(
    "ultralytics:v8",
    "n_kr/V_kr",
    "Sums over a micro-batch's target scores times its images, summed over micro-batches and ranks.",
    unsplit="fault:times-batch-size",
    typed="YOLO(…).train(…); micro-batches up to nbs=64 images are accumulated",
    source=_YOLOV8,
    known="run",
    tokens=False,
)
