from .datasets import Corpus as Corpus, Entry as Entry, open_corpus as open_corpus
from .detector.calibration import Calibration as Calibration, fit_calibration as fit_calibration
from .detector.detector import Decision as Decision, Detector as Detector
from .detector.model_file import load_detector as load_detector, save_detector as save_detector
from .detector.results import Results as Results
from .explanation.attribution import METHODS as METHODS
from .explanation.options import ExplanationOptions as ExplanationOptions
from .io.reader import read_recording as read_recording
from .labels import LABEL_MODES as LABEL_MODES
from .models.registry import MODELS as MODELS
from .preprocessing.loading import load_windows as load_windows
from .preprocessing.pipeline import Preprocessing as Preprocessing
from .reporting.analysis import RecordingAnalysis as RecordingAnalysis
from .training.plan import Plan as Plan
from .workflows.analyse import analyse as analyse
from .workflows.anonymize import anonymize as anonymize
from .workflows.audit import audit as audit
from .workflows.compare import compare_models as compare_models
from .workflows.detect_recordings import (
    detect_recordings as detect_recordings,
    find_recordings as find_recordings,
)
from .workflows.evaluate import evaluate as evaluate
from .workflows.simulate import simulate as simulate
from .workflows.train import TrainingRun as TrainingRun, train as train
