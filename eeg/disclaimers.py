"""Statements that every output contains, whatever the score."""

RESEARCH_USE = "Research use only: not a medical device, not for diagnosis or treatment."
NORMAL_EEG = "A normal routine EEG does not exclude epilepsy."
NOT_A_FINDING = (
    "A marked segment is a model attribution, a place that changes the model's score, "
    "and never a clinical finding."
)
