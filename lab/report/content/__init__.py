"""What a report says, whatever its format: findings, links, sweeps, explanations, limitations."""
