"""What pyproject.toml cannot say: the configs are in the package as gfvad/bundled/configs."""

from setuptools import find_packages, setup

CONFIGS = {
    f"gfvad.bundled.{name}": name.replace(".", "/") for name in ("configs", "configs.sweeps")
}

setup(packages=[*find_packages(include=["gfvad*"]), *CONFIGS], package_dir=CONFIGS)
