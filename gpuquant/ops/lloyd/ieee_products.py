"""Matrix products of single precision on CUDA in which nothing is rounded to TF32."""

import os
import threading

import torch


class _IeeeProducts:
    """No TF32, whatever the caller's program has allowed, while any thread is inside."""

    def __init__(self) -> None:
        self._lock, self._n_inside, self._allowed = threading.Lock(), 0, ""

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._allowed = product_precision()
                set_product_precision("ieee")
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                set_product_precision(self._allowed)

    def begin_anew(self) -> None:
        """Forget, in a forked process, the threads inside: they stayed in the parent."""
        self._lock = threading.Lock()
        if self._n_inside:
            self._n_inside = 0
            set_product_precision(self._allowed)


def product_precision() -> str:
    """The precision of single-precision matrix products on CUDA.

    From torch 2.9 on it is a setting of the backend, which is read without an error whichever setting the caller's
    program used; `torch.get_float32_matmul_precision` raises where that was not its own.
    """
    backend = torch.backends.cuda.matmul
    return backend.fp32_precision if hasattr(backend, "fp32_precision") else torch.get_float32_matmul_precision()


def set_product_precision(precision: str) -> None:
    """Set a precision that `product_precision` gave, or "ieee"; a setting that holds already is not touched."""
    backend = torch.backends.cuda.matmul
    if not hasattr(backend, "fp32_precision"):
        torch.set_float32_matmul_precision("highest" if precision == "ieee" else precision)
    elif backend.fp32_precision != precision:
        backend.fp32_precision = precision


ieee_products = _IeeeProducts()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=ieee_products.begin_anew)
