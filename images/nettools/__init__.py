"""Network tools of one node: run in its network namespace, impair its links and probe them."""
