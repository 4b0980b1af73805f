"""Metrics and statistics: functions of arrays that know no task, no run and no plot."""
