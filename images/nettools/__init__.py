"""Network tools of one node: they join its network namespace, impair its links and probe them."""
