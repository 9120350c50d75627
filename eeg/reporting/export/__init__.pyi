from .bids import write_derivative as write_derivative, write_events as write_events
from .edf import write_annotated_edf as write_annotated_edf
from .json import ranked as ranked, result as result, schema as schema, write_json as write_json
from .szcore import write_szcore as write_szcore
