"""Finds what a detector of PyOD, chosen by name, finds strange in count vectors; needs the extra `pyod`."""

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from logad.contracts import PartConfig, Scores
from logad.detectors._adapting import Adapted, RefusedError, one_of, options_of, quietly, unknown_options
from logad.detectors._columns import Floats
from logad.errors import ConfigError

MODELS: Final[Mapping[str, str]] = {
    "ECOD": "ecod",
    "COPOD": "copod",
    "HBOS": "hbos",
    "ABOD": "abod",
    "CBLOF": "cblof",
    "GMM": "gmm",
    "IForest": "iforest",
    "INNE": "inne",
    "KDE": "kde",
    "KNN": "knn",
    "KPCA": "kpca",
    "LODA": "loda",
    "LOF": "lof",
    "MCD": "mcd",
    "OCSVM": "ocsvm",
    "PCA": "pca",
    "Sampling": "sampling",
    "AutoEncoder": "auto_encoder",
    "DeepSVDD": "deep_svdd",
    "VAE": "vae",
}
"""The models that can be had, and their modules: for tables, inductive; the last three need torch.

Left out: SOD and SOS, which judge rows only against those beside them, and QMCD, which finds floods of lines
usual.
"""

_INSTALL: Final = "install it: pip install 'logad[pyod]'"


class PyodConfig(PartConfig):
    """Which model, with which options."""

    model: str = "ECOD"
    """The class of PyOD."""

    options: Mapping[str, Any] = Field(default_factory=dict, examples=[{"n_neighbors": 30}])
    """Options of that class, as its own documentation names them."""

    @field_validator("model")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of(MODELS, name)

    @field_validator("options")
    @classmethod
    def _taken(cls, options: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        name = info.data.get("model")
        if not options or name is None:
            return options
        try:
            made = _class(name)
            unknown_options(name, options, options_of(made))
            made(**options)
        except ConfigError as error:  # a model that cannot be had
            raise ValueError(f"found {error.found}; expected {error.expected}: {error.advice}") from error
        except ValueError as error:
            if str(error).startswith("found "):
                raise
            raise ValueError(f"found {options}; expected options that {name} takes ({error})") from error
        return options


class PyodDetector(Adapted):
    """The strangeness that a model of PyOD (Zhao et al. 2019) sees in scaled log counts."""

    name: ClassVar[str] = "pyod"
    Config: ClassVar[type[PartConfig]] = PyodConfig
    config: PyodConfig

    @property
    def _label(self) -> str:
        return self.config.model

    @property
    def _library(self) -> str:
        from pyod.version import __version__  # noqa: PLC0415  (an extra)

        return f"PyOD {__version__}"

    def _fitted(self, rows: Floats) -> Any:  # noqa: ANN401  (PyOD has no types)
        made = _class(self.config.model)
        own = {"random_state": self.seed} if "random_state" in options_of(made) else {}
        try:
            model = made(**{**own, **self.config.options})
        except (TypeError, ValueError) as error:
            raise RefusedError(f"{self._label} does not take its options ({error})") from error
        return model.fit(rows)

    def _strangeness(self, rows: Floats) -> Scores:
        return np.asarray(self._estimator.decision_function(rows), dtype=np.float64)


def _class(name: str) -> Any:  # noqa: ANN401  (PyOD has no types)
    """The class of a model; raises ConfigError that says what to install where something is missing."""
    where = "detectors.pyod"
    try:
        with quietly(0):
            return getattr(importlib.import_module(f"pyod.models.{MODELS[name]}"), name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.startswith("pyod.models."):
            raise ConfigError(where, f"this PyOD has no {name}", "a newer one", _INSTALL) from error
        if missing.partition(".")[0] == "pyod":
            raise ConfigError(where, "PyOD is not installed", "the extra `pyod`", _INSTALL) from error
        advice = f"install it (pip install {missing}), or choose a model that does without"
        raise ConfigError(where, f"{name} needs {missing}", "that package too", advice) from error
    except ImportError as error:
        raise ConfigError(where, f"{name} cannot be loaded ({error})", "a PyOD that can", _INSTALL) from error
