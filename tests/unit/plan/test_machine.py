"""What a kernel tells of the machine: fake trees, and this host."""

import gzip
import platform

from lab.plan import host, machine


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return machine.facts(root)


CPU = "sys/devices/system/cpu"


def test_everything_that_is_there_is_read(tmp_path):
    found = tree(
        tmp_path,
        {
            "proc/sys/kernel/random/boot_id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427\n",
            "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
            f"{CPU}/smt/active": "1\n",
            "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
            "proc/config.gz": gzip.compress(b"CONFIG_HZ=250\nCONFIG_IRQ_TIME_ACCOUNTING=y\n"),
        },
    )
    digest = found.pop("machine_id")
    assert found == {
        "boot_id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
        "governor": "performance, powersave",
        "smt": "on",
        "clock_source": "tsc",
        "transparent_hugepages": "madvise",
        "interrupt_time": "measured",
    }
    assert len(digest) == 16
    assert digest not in "0123456789abcdef0123456789abcdef"


def test_what_is_not_there_is_none_and_no_cpufreq_is_said(tmp_path):
    assert set(tree(tmp_path, {}).values()) == {None}
    assert tree(tmp_path, {f"{CPU}/online": "0"})["governor"] == "none"


def test_a_distributions_copy_of_the_configuration_is_read(tmp_path):
    text = "# CONFIG_IRQ_TIME_ACCOUNTING is not set\nCONFIG_TICK_CPU_ACCOUNTING=y\n"
    assert tree(tmp_path, {f"boot/config-{platform.release()}": text})["interrupt_time"] == "sampled"


def test_this_host_has_a_boot():
    assert host.read().boot_id == machine.facts()["boot_id"] is not None
