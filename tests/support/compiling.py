"""How tests compile: fast, as their programs are tiny. Nothing here is set for users; what they get
is tried by tests/tasks/test_optimised.py."""

from importlib.metadata import version

SWITCH = "JAX_DISABLE_MOST_OPTIMIZATIONS"
# The emitters of fused loops, and a module split into parts, are three quarters of the time that
# compiling takes. Flags of the version of requirements.txt alone: XLA stops at one that it does not
# know.
FAST = (
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    if version("jaxlib") == "0.10.2"
    else ""
)


def xla_flags(devices: int = 0) -> str:
    """XLA_FLAGS of a process that compiles fast, with emulated CPU devices."""
    emulated = f"--xla_force_host_platform_device_count={devices}" if devices else ""
    return f"{emulated} {FAST}".strip()
