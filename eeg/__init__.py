"""From a routine EEG recording to an explained score for epilepsy-like EEG.  Research use only."""
