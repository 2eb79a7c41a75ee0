"""Finds what an estimator of scikit-learn, chosen by name, finds strange in count vectors."""

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from logad.contracts import PartConfig, Scores
from logad.detectors._adapting import Adapted, RefusedError, one_of, options_of, quietly, unknown_options
from logad.detectors._columns import Floats

ESTIMATORS: Final[Mapping[str, str]] = {
    "LocalOutlierFactor": "neighbors",
    "OneClassSVM": "svm",
    "SGDOneClassSVM": "linear_model",
    "IsolationForest": "ensemble",
    "EllipticEnvelope": "covariance",
    "GaussianMixture": "mixture",
    "BayesianGaussianMixture": "mixture",
    "KernelDensity": "neighbors",
    "PCA": "decomposition",
    "FactorAnalysis": "decomposition",
    "KMeans": "cluster",
    "MiniBatchKMeans": "cluster",
    "BisectingKMeans": "cluster",
    "MeanShift": "cluster",
    "AffinityPropagation": "cluster",
    "Birch": "cluster",
    "DBSCAN": "cluster",
    "HDBSCAN": "cluster",
    "OPTICS": "cluster",
}
"""The estimators that can be had, and the module of scikit-learn that each is in."""

_TRIAL: Final = (64, 3)  # rows and columns that a wrong option shows itself on


class SklearnConfig(PartConfig):
    """Which estimator, with which options."""

    estimator: str = "LocalOutlierFactor"
    """The class of scikit-learn: an outlier estimator, a density, a mixture or a clustering."""

    options: Mapping[str, Any] = Field(default_factory=dict, examples=[{"n_neighbors": 30}])
    """Options of that class, as its own documentation names them."""

    @field_validator("estimator")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of(ESTIMATORS, name)

    @field_validator("options")
    @classmethod
    def _taken(cls, options: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        name = info.data.get("estimator")
        if not options or name is None:
            return options
        unknown_options(name, options, options_of(_class(name)))
        try:
            with quietly(0):
                _fitted(name, options, 0, np.random.default_rng(0).standard_normal(_TRIAL))
        except RefusedError as error:
            raise ValueError(f"found {options}; expected options that {name} takes ({error})") from error
        except Exception:  # noqa: BLE001, S110  (of the few rows of a trial; real ones may do)
            pass
        return options


class SklearnDetector(Adapted):
    """The strangeness that an estimator of scikit-learn sees in scaled log counts.

    Where it has `score_samples` (outlier estimators, densities, mixtures, PCA), it is that, turned round;
    else the distance to the nearest cluster centre, core sample or clustered sample, whichever it has.
    """

    name: ClassVar[str] = "sklearn"
    Config: ClassVar[type[PartConfig]] = SklearnConfig
    config: SklearnConfig

    @property
    def _label(self) -> str:
        return self.config.estimator

    @property
    def _library(self) -> str:
        import sklearn  # noqa: PLC0415  (a second to import)

        return f"scikit-learn {sklearn.__version__}"

    def _fitted(self, rows: Floats) -> Any:  # noqa: ANN401  (scikit-learn has no types)
        estimator = _fitted(self.config.estimator, self.config.options, self.seed, rows)
        self._anchors = None if hasattr(estimator, "score_samples") else _anchors(estimator, rows)
        return estimator

    def _strangeness(self, rows: Floats) -> Scores:
        if self._anchors is None:
            return np.asarray(-self._estimator.score_samples(rows), dtype=np.float64)
        return _distances(rows, self._anchors)


def _class(name: str) -> Any:  # noqa: ANN401  (scikit-learn has no types)
    return getattr(importlib.import_module(f"sklearn.{ESTIMATORS[name]}"), name)


def _fitted(name: str, options: Mapping[str, Any], seed: int, rows: Floats) -> Any:  # noqa: ANN401
    made = _class(name)
    own = {"random_state": seed} if "random_state" in options_of(made) else {}
    must = {"novelty": True} if name == "LocalOutlierFactor" else {}
    try:
        return made(**{**own, **options, **must}).fit(rows)
    except (TypeError, ValueError) as error:
        if type(error).__name__ == "InvalidParameterError":
            raise RefusedError(str(error)) from error
        raise


def _anchors(estimator: Any, rows: Floats) -> Floats:  # noqa: ANN401
    """The points of a clustering that a row near to is normal; all rows where nothing was clustered."""
    for name in ("cluster_centers_", "subcluster_centers_"):
        if len(centres := getattr(estimator, name, ())):
            return np.asarray(centres, dtype=np.float64)
    cores = getattr(estimator, "core_sample_indices_", None)
    inside = rows[cores] if cores is not None else rows[estimator.labels_ >= 0]
    return inside if len(inside) else rows


def _distances(rows: Floats, anchors: Floats) -> Scores:
    """Euclidean distance of each row to the nearest anchor."""
    squares = (rows**2).sum(axis=1)[:, None] + (anchors**2).sum(axis=1) - 2 * rows @ anchors.T
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0.0)))
