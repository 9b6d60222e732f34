"""Two kinds of users, as Locust's own documentation has them: most ask now and then, a few without pause."""

from locust import FastHttpUser, HttpUser, between, constant, task


class Visitor(HttpUser):
    """A browser that asks, reads, asks again."""

    weight = 3
    wait_time = between(0.05, 0.15)

    @task(3)
    def front_page(self) -> None:
        """Ask for the handler's own answer."""
        self.client.get("/")

    @task
    def data(self) -> None:
        """Ask for a small fixed resource."""
        with self.client.get("/json", catch_response=True) as answer:
            if answer.json() != {"message": "Hello, World!"}:
                answer.failure("another message")


class Program(FastHttpUser):
    """A program that asks by the clock."""

    weight = 1
    wait_time = constant(0.02)

    @task
    def plaintext(self) -> None:
        """Ask for the smallest resource."""
        self.client.get("/plaintext")
