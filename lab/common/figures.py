"""The table of figures: every number that sums up a trial, one row each.

Thresholds, summary, growth, comparison, columns, explanations, OpenMetrics and a table of docs/validity.md
derive from it. A new figure is a row here and a field of that name in `ServerFigures` (analysis.model).
"""

from __future__ import annotations

from lab.common.figure import Compared, Computed, Figure, Increase, Peak, PerRequest, Quotient

# What figures rest on: the checks whose findings put them in doubt. A row takes the group of what it counts:
# answers, answers per second, response times, CPU time, memory per connection, or the server's own counts per
# answer; and single checks besides.
_SAMPLED = ("sampling", "sampler_stalls")
_ANSWERS = ("right_answers", "outcomes", "seconds", "locust_count")
_GENERATOR = (
    "lateness",
    "generator_cpu",
    "generator_throttled",
    "generator_stalls",
    "real_time_throttled",
    "loop_lag",
)
_LINK = ("link_in_force", "link_delay", "link_loss", "link_rate", "link_drops", "delayline_lateness")
_LOAD = (
    *_ANSWERS,
    "errors",
    "backlog",
    *_GENERATOR,
    "steady",
    "little_law",
    *_LINK,
    "event_on_time",
    "clocks",
)
_RATE = (*_LOAD, "offered_load", "generator_ceiling")
_RESPONSE = (*_LOAD, "host_quiet", "run_delay", "placement", "cpu_sets", "omission", "tail_support")
_CPU = (*_ANSWERS, "cpu_full", "throttled", "host_quiet", "placement", "cpu_sets", "clocks", *_SAMPLED)
_MEMORY = ("connections_reached", "oom", "swap", *_SAMPLED)
_COUNT = (*_ANSWERS, "server_count", "server_window", *_SAMPLED)
_ENGINES = Computed("the swarm's engines, summed exactly")
_CPU_TIME = Computed("the server's cgroup; else `getrusage(2)`; else `/proc` (`cpu_source` says which)")
_HISTOGRAM = Computed("one HdrHistogram per second (1 µs … 600 s, 3 digits), merged, never averaged")

FIGURES: tuple[Figure, ...] = (
    Figure(
        "connections_peak", "", None, Computed("the server's statistics; the kernel where it prints none"),
        title="connections", per="at once", noun="connections",
        explains="Most connections held at once, by the server's count.",
        needs=("connections_reached",), over_trials="most", threshold="connections", whole=True,
        column=True, per_trial=True,
    ),
    Figure(
        "requests_per_s", "/s", "higher", _ENGINES,
        title="requests", per="/s", noun="rate",
        explains="Answers that came within the measured window, per second.",
        needs=_RATE, column=True, per_trial=True, swept=True, compared=Compared(0.05, "closed"),
    ),
    Figure(
        "offered_per_s", "/s", None, _ENGINES,
        title="offered", per="/s", noun="offered load",
        explains="Requests meant for the measured window, per second.", needs=("outcomes",),
    ),
    Figure(
        "response_p50_ms", "ms", "lower", _HISTOGRAM,
        title="p50", per="ms", noun="median response time",
        explains="Median response time, counted from the moment each request was meant to be sent.",
        needs=_RESPONSE, field=("response_ms", "p50"),
        column=True, per_trial=True, behind=True, swept=True, compared=Compared(),
    ),
    Figure(
        "response_p95_ms", "ms", "lower", _HISTOGRAM,
        title="p95", per="ms", noun="p95 response time",
        explains="Response time that 95 of 100 requests stay within, from the intended send.",
        needs=_RESPONSE, field=("response_ms", "p95"), compared=Compared(),
    ),
    Figure(
        "response_p99_ms", "ms", "lower", _HISTOGRAM,
        title="p99", per="ms", noun="p99 response time",
        explains="Response time that 99 of 100 requests stay within, from the intended send.",
        needs=_RESPONSE, field=("response_ms", "p99"),
        column=True, per_trial=True, behind=True, swept=True, compared=Compared(gate="always"), least=0.5,
        explained_by=(
            "listen_overflows", "cpu_cores", "ready_per_wakeup", "switches_per_request", "eagain_per_request",
        ),
    ),
    Figure(
        "errors", "share", "lower", Computed("outcomes by kind"),
        title="errors", per="share", noun="share of errors",
        explains="Share of the requests meant for the window without a right answer: failed or never sent. "
        "The share of users whom a limit refused counts too.",
        needs=(*_ANSWERS, "errors", "client_exhausted", "link_loss", "link_drops"),
        field=("errors", "rate"),
        column=True, per_trial=True,
    ),
    Figure(
        "cpu_us_per_request", "µs", "lower",
        _CPU_TIME,
        title="CPU", per="µs/request", noun="CPU time per request",
        explains="The server's CPU time per answer; of a full CPU a lower bound.",
        needs=_CPU, column=True, per_trial=True, behind=True, swept=True, compared=Compared(0.05, "always"),
        explained_by=(
            "switches_per_request", "syscalls_per_request", "wakeups_per_request", "ready_per_wakeup",
            "eagain_per_request",
        ),
    ),
    Figure(
        "cpu_cores", "", "lower", _CPU_TIME,
        title="CPUs", per="busy", noun="CPUs busy",
        explains="The server's CPU time in the window, divided by the window.",
        needs=_CPU, counted_as="{} CPUs busy", least=0.5,
    ),
    Figure(
        "cpu_share", "share", None, _CPU_TIME,
        title="CPU", per="in use", noun="share of its CPUs in use",
        explains="CPUs busy, divided by the CPUs that the server may use: those of its CPU set, of its "
        "quota, and one for each worker of a model with one thread. Above 95 % the CPU is full, and the CPU "
        "time per answer a lower bound; from 85 % on it is marked.",
        needs=_CPU,
    ),
    Figure(
        "cpu_cores_waiting", "", "lower", _CPU_TIME,
        title="CPUs", per="busy while waiting", noun="CPUs busy while waiting",
        explains="The server's CPU time from the first sample until the warm-up, divided by that time: "
        "connections open, and no request is sent. A model that polls by design has it in place of a CPU "
        "time per answer.",
        needs=(*_SAMPLED, "placement"),
    ),
    Figure(
        "memory_bytes_per_connection", "B", "lower",
        Computed("the server's cgroup, with the kernel memory that is charged to it"),
        title="memory", per="/connection", noun="memory per connection",
        explains="Growth of the server's memory from before the ramp to the window, divided by the "
        "connections held. A figure that still moves in the window is marked. The kernel counts in steps of "
        "256 KiB. The figure is left out if one step is more than a quarter of it and more than 512 B per "
        "connection.",
        needs=_MEMORY, column=True, behind=True, swept=True, compared=Compared(),
        explained_by=("threads_peak",), fallback="pss_bytes_per_connection",
    ),
    Figure(
        "pss_bytes_per_connection", "B", "lower", Computed("`/proc/PID/smaps_rollup`"),
        title="own memory", per="/connection", noun="own memory per connection",
        explains="Growth of the memory of the server's processes alone from before the ramp to the window, "
        "divided by the connections held; pages that they share count once (PSS).",
        needs=_MEMORY, fallback="rss_bytes_per_connection",
    ),
    Figure(
        "rss_bytes_per_connection", "B", "lower", Computed("`/proc/PID`"),
        title="resident", per="/connection", noun="resident memory per connection",
        explains="Growth of the resident memory (RSS) of the server's process, if it has only one, from "
        "before the ramp to the window, divided by the connections held.",
        needs=_MEMORY,
    ),
    Figure(
        "switches_per_request", "", "lower", PerRequest(("switches_voluntary", "switches_involuntary")),
        title="switches", per="/request", noun="context switches per request",
        explains="Context switches of the server, voluntary and not, per answer.",
        needs=_COUNT, column=True, behind=True, compared=Compared(),
        counted_as="{} context switches a request",
    ),
    Figure(
        "ready_per_wakeup", "", "higher", Quotient("ready", "wakeups"),
        title="ready", per="/wake-up", noun="ready descriptors per wake-up",
        explains="Descriptors that were ready at each return of the multiplexer.",
        needs=_COUNT, behind=True, counted_as="{} ready descriptors a wake-up",
    ),
    Figure(
        "wakeups_per_request", "", "lower", PerRequest(("wakeups",)),
        title="wake-ups", per="/request", noun="wake-ups per request",
        explains="Returns of the multiplexer per answer.", needs=_COUNT, counted_as="{} wake-ups a request",
    ),
    Figure(
        "eagain_per_request", "", "lower", PerRequest(("eagain",)),
        title="EAGAIN", per="/request", noun="EAGAIN per request",
        explains="Calls that found nothing to do (EAGAIN), per answer.",
        needs=_COUNT, behind=True, counted_as="{} fruitless calls (EAGAIN) a request",
    ),
    Figure(
        "signals_per_request", "", "lower", PerRequest(("signals",)),
        title="signals", per="/request", noun="signals per request",
        explains="Signals that the server took, per answer.", needs=_COUNT,
    ),
    Figure(
        "completions_per_request", "", None, PerRequest(("completions",)),
        title="completions", per="/request", noun="completions per request",
        explains="Completions of asynchronous operations, per answer.", needs=_COUNT,
    ),
    Figure(
        "threads_peak", "", None, Peak((("procfs", "threads"),)),
        title="threads", per="at once", noun="threads",
        explains="Most threads of the server at once, without the one that prints its statistics.",
        needs=_SAMPLED, whole=True, behind=True, counted_as="{} threads",
    ),
    Figure(
        "descriptors_peak", "", None, Peak((("procfs", "descriptors"),)),
        title="descriptors", per="at once", noun="open descriptors",
        explains="Most open descriptors of the server at once.", needs=_SAMPLED, whole=True,
    ),
    Figure(
        "memory_peak_bytes", "B", "lower", Peak((("cgroup", "memory_bytes"), ("procfs", "rss_bytes"))),
        title="memory", per="at most", noun="peak memory", explains="The most memory that the server held.",
        needs=("oom", "swap", *_SAMPLED),
    ),
    Figure(
        "sockets_peak", "", None, Peak((("sockets", "established"),)),
        title="sockets", per="at once", noun="established sockets",
        explains="Most established connections at once, by the kernel's count.",
        needs=_SAMPLED, over_trials="most", whole=True,
    ),
    Figure(
        "retransmits", "", "lower", Increase("sockets", "retransmits"),
        title="retransmits", per="whole trial", noun="retransmits",
        explains="Segments that the server's network namespace sent again, in the whole trial.",
        needs=("kernel_counters", "link_loss", "link_drops"), over_trials="most", whole=True, per_trial=True,
    ),
    Figure(
        "listen_overflows", "", "lower", Increase("sockets", "listen_overflows"),
        title="overflows", per="whole trial", noun="accept-queue overflows",
        explains="Connections dropped because the accept queue was full, in the whole trial.",
        needs=("kernel_counters",), over_trials="most", whole=True, per_trial=True, behind=True,
        counted_as="{} accept-queue overflows in the whole trial",
    ),
    Figure(
        "syscalls_per_request", "", "lower",
        Computed("a BPF program in the server's PID namespace; off in the window, because counting costs"),
        title="warm-up calls", per="/request", noun="system calls per request of the warm-up",
        explains="All system calls per answer of the warm-up. The summary has them by name.",
        needs=(*_ANSWERS, "model_profile"), behind=True,
        counted_as="{} system calls a request in the warm-up",
    ),
)  # fmt: skip

BY_NAME = {figure.name: figure for figure in FIGURES}
