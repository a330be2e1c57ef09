"""Ordered dithering as one Triton kernel."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpuquant.ops.dithering.reference import FIELD_BITS
from gpuquant.ops.lloyd.cuda import n_programs
from gpuquant.ops.pixels.cuda import add_runs
from gpuquant.tensors import uint16_as_int16

BLOCK = 256  # pixels of a row that one warp works on, as counting those of many entries takes a sort
PER_PROCESSOR = 16  # programs that work side by side
OPTIONS = {"num_warps": 1}


@triton.jit(
    do_not_specialize=["n_blocks", "top", "width", "per_row", "mask_rows", "mask_columns", "n_entries"],
    do_not_specialize_on_alignment=["pixels", "numbers", "labels"],  # parts of a photo begin anywhere
)
def choose_entries_kernel(
    pixels,
    numbers,
    mixtures,
    palette,
    mask,
    labels,
    totals,
    n_blocks,
    top,
    width,
    per_row,
    mask_rows,
    mask_columns,
    n_entries,
    COLUMNS: tl.constexpr,
    FIELD_BITS: tl.constexpr,
    BLOCK: tl.constexpr,
    BINS: tl.constexpr,
):
    """labels = the first entries of mixtures whose limits are above the mask; totals: their pixels, squared errors.

    A program adds up what its blocks have in common: the errors, and the pixels of entries whose labels are bytes.
    """
    bins = tl.arange(0, BINS)
    kept = tl.zeros([BINS], tl.int32)
    error = tl.zeros([], tl.int64)
    for block in range(tl.program_id(0), n_blocks, tl.num_programs(0)):
        row = block // per_row
        column = block % per_row * BLOCK + tl.arange(0, BLOCK)
        inside = column < width
        place = row.to(tl.int64) * width + column
        red = tl.load(pixels + place * COLUMNS, mask=inside, other=0).to(tl.int64)
        green = red if COLUMNS == 1 else tl.load(pixels + place * COLUMNS + 1, mask=inside, other=0).to(tl.int64)
        blue = red if COLUMNS == 1 else tl.load(pixels + place * COLUMNS + 2, mask=inside, other=0).to(tl.int64)
        number = tl.load(numbers + place, mask=inside, other=0).to(tl.int64)
        if numbers.dtype.element_ty == tl.int16:  # uint16, which torch hands over as this
            number = number & 0xFFFF
        mixture = mixtures + number * 5
        limits = tl.load(mixture + 3, mask=inside, other=0) + red * tl.load(mixture, mask=inside, other=0)
        limits += green * tl.load(mixture + 1, mask=inside, other=0) + blue * tl.load(mixture + 2, mask=inside, other=0)
        repeated = (row + top) % mask_rows * mask_columns + column % mask_columns
        threshold = tl.load(mask + repeated, mask=inside, other=0) & ((1 << (FIELD_BITS - 1)) - 1)
        passed = tl.zeros([BLOCK], tl.int64)
        for field in tl.static_range(3):
            passed += ((limits >> (field * FIELD_BITS)) & ((1 << FIELD_BITS) - 1) <= threshold).to(tl.int64)
        entry = ((tl.load(mixture + 4, mask=inside, other=0) >> (16 * passed)) & 0xFFFF).to(tl.int32)
        tl.store(labels + place, entry.to(labels.dtype.element_ty), mask=inside)
        apart = red.to(tl.int32) - tl.load(palette + entry * 3, mask=inside, other=0).to(tl.int32)
        squares = apart * apart
        apart = green.to(tl.int32) - tl.load(palette + entry * 3 + 1, mask=inside, other=0).to(tl.int32)
        squares += apart * apart
        apart = blue.to(tl.int32) - tl.load(palette + entry * 3 + 2, mask=inside, other=0).to(tl.int32)
        squares += apart * apart
        error += tl.sum(tl.where(inside, squares, 0))
        if BINS > 1:
            n_outside = BLOCK - tl.sum(inside.to(tl.int32))  # counted as entry 0
            kept += tl.histogram(tl.where(inside, entry, 0), BINS) - tl.where(bins == 0, n_outside, 0)
        else:
            add_runs(totals, tl.where(inside, entry, -1), BLOCK)
    tl.atomic_add(totals + n_entries, error, sem="relaxed")
    tl.atomic_add(totals + bins, kept.to(tl.int64), mask=kept > 0, sem="relaxed")


def bins_for(labels: Tensor) -> int:
    """Choose for how many entries a program counts pixels by itself: as many as bytes tell apart, or none."""
    return 256 if labels.dtype == torch.uint8 else 1


def choose_entries(
    top: int,  # the place of the first row in the image
    rows: Tensor,  # [rows, W, 1] (gray), [rows, W, 3] or [rows, W, 4] uint8; a fourth column is left out
    numbers: Tensor,  # [rows, W] uint8, uint16 or int32: of the mixtures of pixels
    mixtures: Tensor,  # [Q, 5] int64
    palette: Tensor,  # [K, 3] uint8
    mask: Tensor,  # [A, B] int64: three equal fields, with their highest bits; laid side by side from the top left
    labels: Tensor,  # [rows, W] uint8 or uint16, contiguous: written
) -> tuple[Tensor, int]:  # [K] int64: the pixels of each entry; squared differences
    """Give each pixel the first of its mixture's entries whose limit is above the mask, or the last one."""
    height, width, n_columns = rows.shape
    totals = torch.zeros(len(palette) + 1, dtype=torch.int64, device=rows.device)
    per_row = triton.cdiv(width, BLOCK)
    n_blocks = height * per_row
    with torch.cuda.device_of(rows):  # Triton launches on the current device
        choose_entries_kernel[(n_programs(n_blocks, rows.device, PER_PROCESSOR),)](
            rows.contiguous(),
            uint16_as_int16(numbers).contiguous(),
            mixtures.contiguous(),
            palette.contiguous(),
            mask.contiguous(),
            uint16_as_int16(labels),
            totals,
            n_blocks,
            top,
            width,
            per_row,
            *mask.shape,
            len(palette),
            COLUMNS=n_columns,
            FIELD_BITS=FIELD_BITS,
            BLOCK=BLOCK,
            BINS=bins_for(labels),
            **OPTIONS,
        )
    return totals[:-1], int(totals[-1])
