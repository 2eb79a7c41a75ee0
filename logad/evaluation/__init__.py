"""How good the judgement is: against labels, and against anomalies planted into the user's own logs."""
