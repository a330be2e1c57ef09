"""KMeans: scikit-learn's estimator, with scikit-learn's results."""

import warnings
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from gpuquant import ops
from gpuquant.arguments import check_chunk_size
from gpuquant.devices import memory_error_as_device_error, resolve_device
from gpuquant.errors import DeviceError
from gpuquant.estimator.fit import Fit, SampleLloyd, fit_once, named_centers, number_of_runs, same_clustering
from gpuquant.estimator.level_pixels import fold_pixels
from gpuquant.estimator.samples import Samples, as_given, as_tensor, checked_centers, checked_tensor, checked_weights
from gpuquant.tensors import as_numpy
from gpuquant.threads import one_blas_thread, one_torch_thread

TRANSFORMED = 1 << 16  # samples of a tensor at a time: distances are computed in double precision

Array = npt.NDArray[Any]


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """k-means with the parameters, the attributes and the results of `sklearn.cluster.KMeans`, on the CPU or CUDA.

    In float64 the labels and the number of iterations are those of scikit-learn on the CPU for the same `random_state`.
    Of more than 8,192 samples each tile of as many is added up by itself, where scikit-learn adds thread by thread:
    centers differ by roundings, and a sample that is as near to two of them, as on a grid, may go to the other one; so
    may one in one column, or where Numba is missing. float32 samples on the CPU are drawn with the rounding of
    scikit-learn 1.8 and later, by the same BLAS, so both start from the same centers (on CUDA they are drawn as float64
    ones). Clusters are then added up in double precision; scikit-learn adds them up in single, thread by thread. After
    5 iterations on 10 to 13 megapixels 0.2 to 0.8 % of the labels differed because of that, and 0.04 to 0.3 % between
    scikit-learn with one thread and with two.

    More than 1,024 samples that are 8-bit pixels (0..255, k / 255 or k x (1 / 255) in three or four columns; more than
    32,768 in one or two) are recognized and clustered as distinct colors with their counts, which is many times faster
    and gives the same result. CSR matrices are made dense. Sources: S. Lloyd 1982, "Least squares quantization in PCM";
    D. Arthur and S. Vassilvitskii 2007, "k-means++: the advantages of careful seeding".

    Parameters
    ----------
    n_clusters, init, n_init, max_iter, tol, verbose, random_state, copy_x
        As in scikit-learn. X is never changed, whatever `copy_x`, and copied only if its type or order has to change
        (lists, integers other than uint8, Fortran order); `verbose` also names the path taken.
    algorithm : "lloyd" or "elkan"
        Both mean the same here, as they do in their results.
    device : "auto", "cpu", "cuda", "cuda:1" or torch.device
        "auto" is a tensor's own device; for anything else CUDA where there is one, or else the CPU.
    chunk_size : int, optional
        Bounds the memory for scores to 64 numbers per unit, or to what one matrix product takes, where compiled loops
        and kernels do not run; changes no result.

    Attributes
    ----------
    cluster_centers_ : array [n_clusters, n_features], of the samples' dtype; a tensor if X was one
    labels_ : array int32 [n_samples]; a tensor if X was one
    inertia_ : float
        Sum of weight times squared distance to the center.
    n_iter_ : int
    n_features_in_ : int

    Examples
    --------
    >>> import gpuquant, numpy as np
    >>> X = np.array([[1.0, 2.0], [1.0, 4.0], [10.0, 2.0], [10.0, 4.0]])
    >>> gpuquant.KMeans(n_clusters=2, random_state=0).fit(X).inertia_
    4.0
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like", Tensor],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"lloyd", "elkan"})],
        "device": "no_validation",  # both are checked with messages of our own
        "chunk_size": "no_validation",
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        device: str | torch.device = "auto",
        chunk_size: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.device = device
        self.chunk_size = chunk_size

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value.cpu() if isinstance(value, Tensor) else value for name, value in state.items()}

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    @memory_error_as_device_error()
    @one_torch_thread()
    def fit(self, X: Any, y: object = None, sample_weight: Any = None) -> Self:  # noqa: N803
        """Cluster the samples.

        Parameters
        ----------
        X : array, data frame, CSR matrix or tensor [n_samples, n_features]
        y : ignored
        sample_weight : array or tensor [n_samples], optional

        Raises
        ------
        ValueError
            As scikit-learn: NaN, too few samples, wrong shapes.
        DeviceError
            The device is not there, or has too little memory.

        Examples
        --------
        >>> import gpuquant
        >>> model = gpuquant.KMeans(2, init=[[0.0], [10.0]]).fit([[0.0], [2.0], [10.0]], sample_weight=[3, 1, 1])
        >>> model.cluster_centers_.tolist(), model.labels_.tolist(), model.n_iter_
        ([[0.5], [10.0]], [0, 0, 1], 2)
        """
        samples, reference = self._samples(X, sample_weight, fitting=True)
        if samples.n_samples < self.n_clusters:
            raise ValueError(f"n_samples={samples.n_samples} should be >= n_clusters={self.n_clusters}.")
        name = type(self).__name__
        self._n_init = number_of_runs(self.init, self.n_init, self.algorithm, self.n_clusters, name)
        random_state = check_random_state(self.random_state)
        init = self.init
        if not isinstance(init, str) and not callable(init):
            init = checked_centers(init, self.n_clusters, reference)
        say = print if self.verbose else None
        if say:
            kind = "8-bit pixels" if samples.pixels else "samples"
            say(f"Clustering {samples.n_points} rows for {samples.n_samples} {kind}")
        best: Fit | None = None
        for _ in range(self._n_init):
            with one_blas_thread():
                centers = self._start(samples, reference, init, random_state)
                if say:
                    say("Initialization complete")
                fit = fit_once(samples, centers, max_iter=self.max_iter, tol=float(self.tol), say=say)
            if best is None or (
                fit.inertia < best.inertia and not same_clustering(fit.point_labels, best.point_labels, self.n_clusters)
            ):
                best = fit
        assert best is not None
        n_found = int((torch.bincount(best.point_labels) > 0).sum())
        if n_found < self.n_clusters:
            message = f"Number of distinct clusters ({n_found}) found smaller than n_clusters ({self.n_clusters})."
            advice = "Possibly due to duplicate points in X."
            warnings.warn(f"{message} {advice}", ConvergenceWarning, stacklevel=4)
        self.cluster_centers_ = as_given(best.centers.to(samples.dtype), X)
        self.labels_ = as_given(samples.turn_into_labels(best.point_labels), X)
        self.inertia_ = best.inertia
        self.n_iter_ = best.n_iter
        self._n_features_out = self.n_clusters
        return self

    @memory_error_as_device_error()
    @one_torch_thread()
    def predict(self, X: Any) -> Any:  # noqa: N803
        """The nearest center of every sample, int32 [n_samples]; X and errors as for `fit`, and `NotFittedError`.

        Examples
        --------
        >>> import gpuquant
        >>> gpuquant.KMeans(2, init=[[0.0], [10.0]]).fit([[0.0], [2.0], [10.0]]).predict([[4.0], [6.0]]).tolist()
        [0, 1]
        """
        check_is_fitted(self)
        points, checked = self._points(X, fitting=False)
        labels = ops.label_samples(points, as_tensor(self.cluster_centers_).to(points.device))
        if labels is None:
            samples = self._prepared(points, checked, None, fitting=False)
            labels = self._assigned(samples.without_weights())[0].labels_of_points()[0]
            labels = samples.turn_into_labels(labels)
        return as_given(labels, X)

    def fit_predict(self, X: Any, y: object = None, sample_weight: Any = None) -> Any:  # noqa: N803
        """Fit and return `labels_`; arguments and errors as for `fit`.

        Examples
        --------
        >>> import gpuquant
        >>> gpuquant.KMeans(2, init=[[0.0], [10.0]]).fit_predict([[0.0], [2.0], [10.0]]).tolist()
        [0, 0, 1]
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    @memory_error_as_device_error()
    def transform(self, X: Any) -> Any:  # noqa: N803
        """Distances of samples to centers, [n_samples, n_clusters]; X and errors as for `fit`, and `NotFittedError`.

        Examples
        --------
        >>> import gpuquant
        >>> gpuquant.KMeans(2, init=[[0.0], [10.0]]).fit([[0.0], [2.0], [10.0]]).transform([[4.0]]).tolist()
        [[3.0, 6.0]]
        """
        check_is_fitted(self)
        if not isinstance(X, Tensor):
            self._resolved_device(None)
            checked = self._checked_array(X, fitting=False, folded=False)
            return euclidean_distances(checked, as_numpy(self.cluster_centers_))
        points = self._checked_tensor(X, fitting=False)
        points = points.to(self._resolved_device(points))
        centers = as_tensor(self.cluster_centers_).to(points.device).double()
        chunks = [torch.cdist(part.double(), centers) for part in points.split(TRANSFORMED)]
        return as_given(torch.cat(chunks).to(torch.float32 if points.dtype == torch.float32 else torch.float64), X)

    def fit_transform(self, X: Any, y: object = None, sample_weight: Any = None) -> Any:  # noqa: N803
        """Fit and return the distances, [n_samples, n_clusters]; arguments and errors as for `fit`.

        Examples
        --------
        >>> import gpuquant
        >>> gpuquant.KMeans(2, init=[[0.0], [10.0]]).fit_transform([[0.0], [2.0], [10.0]]).tolist()
        [[1.0, 10.0], [1.0, 8.0], [9.0, 0.0]]
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    @memory_error_as_device_error()
    @one_torch_thread()
    def score(self, X: Any, y: object = None, sample_weight: Any = None) -> float:  # noqa: N803
        """Minus the `inertia_` that X would have; arguments and errors as for `fit`, and `NotFittedError`.

        Examples
        --------
        >>> import gpuquant
        >>> gpuquant.KMeans(2, init=[[0.0], [10.0]]).fit([[0.0], [2.0], [10.0]]).score([[4.0], [10.0]])
        -9.0
        """
        check_is_fitted(self)
        state, centers = self._assigned(self._samples(X, sample_weight, fitting=False)[0])
        return -state.inertia(centers)[0]

    def _assigned(self, samples: Samples) -> tuple[SampleLloyd, Tensor]:  # [1, K, D] float64
        """Label all points by the centers that were found, and give these as they were entered."""
        state = SampleLloyd(samples, len(self.cluster_centers_))
        centers = state.enter(as_tensor(self.cluster_centers_).to(samples.device)[None])
        with one_blas_thread():
            state.step(centers, [0])
        return state, centers

    def _samples(self, X: Any, sample_weight: Any, *, fitting: bool) -> tuple[Samples, Any]:  # noqa: N803
        """Prepare the samples to cluster, and give the checked X, too."""
        points, checked = self._points(X, fitting=fitting)
        return self._prepared(points, checked, sample_weight, fitting=fitting), checked

    def _points(self, X: Any, *, fitting: bool) -> tuple[Tensor, Any]:  # noqa: N803
        """The samples on the device, and the checked X; an array need not be finite yet."""
        checked: Any = (self._checked_tensor if isinstance(X, Tensor) else self._checked_array)(X, fitting=fitting)
        check_chunk_size(self.chunk_size)
        points = as_tensor(checked.toarray() if issparse(checked) else checked)
        return points.to(self._resolved_device(points if isinstance(X, Tensor) else None)), checked

    def _prepared(self, points: Tensor, checked: Any, sample_weight: Any, *, fitting: bool) -> Samples:
        """Fold pixels, and check other samples. Fitting centers them, unless they are sparse."""
        pixels = fold_pixels(points)
        if pixels is None and not isinstance(checked, Tensor):
            assert_all_finite(checked, estimator_name=type(self).__name__, input_name="X")
        weights = checked_weights(sample_weight, checked, points.device)
        centered = fitting and not issparse(checked)
        return Samples(points, pixels, weights, centered=centered, chunk_size=self.chunk_size)

    def _checked_array(self, X: Any, *, fitting: bool, folded: bool = True) -> Any:  # noqa: N803
        """Check an array, and give it in C order. If it will be folded, it may be uint8, and need not be finite yet."""
        dtypes = [np.float64, np.float32] + ([np.uint8] if folded else [])
        options = {"accept_sparse": "csr", "accept_large_sparse": False, "order": "C", "ensure_all_finite": not folded}
        return validate_data(self, X, reset=fitting, dtype=dtypes, **options)

    def _checked_tensor(self, X: Tensor, *, fitting: bool) -> Tensor:  # noqa: N803
        points = checked_tensor(X)
        if fitting:
            self.n_features_in_ = points.shape[1]
            if hasattr(self, "feature_names_in_"):  # of a data frame, the last time
                del self.feature_names_in_
        elif points.shape[1] != self.n_features_in_:
            message = f"X has {points.shape[1]} features, but {type(self).__name__} is expecting"
            raise ValueError(f"{message} {self.n_features_in_} features as input.")
        return points

    def _resolved_device(self, tensor: Tensor | None) -> torch.device:
        try:
            return resolve_device(self.device, tensor_device=None if tensor is None else tensor.device)
        except DeviceError as error:
            if not hasattr(self, "cluster_centers_"):
                raise
            raise DeviceError(f'{error}; for a fitted model: set_params(device="cpu")') from None

    def _start(self, samples: Samples, reference: Any, init: Any, random_state: np.random.RandomState) -> Tensor:
        device = samples.device
        if isinstance(init, Tensor):
            return init.to(device)
        if isinstance(init, str):
            return named_centers(samples, init, self.n_clusters, random_state)
        origin = samples.points.origin[0].cpu().numpy()
        host = reference.cpu().numpy() if isinstance(reference, Tensor) else reference
        centered = host if issparse(host) else host - origin
        centers = init(centered, self.n_clusters, random_state=random_state)
        return (checked_centers(centers, self.n_clusters, reference) + torch.from_numpy(origin)).to(device)

    def _init_centroids(
        self,
        X: Any,  # noqa: N803
        x_squared_norms: object,
        init: Any,
        random_state: Any,
        sample_weight: Any,
        **_: object,
    ) -> Array:
        """Choose the first centers of a run, under the name and with the arguments that scikit-learn's tests use."""
        samples, checked = self._samples(X, sample_weight, fitting=False)
        centers: Array = self._start(samples, checked, init, random_state).cpu().numpy()
        return centers
