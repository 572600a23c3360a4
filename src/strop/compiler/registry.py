"""The kernels, as one list: what chooses, the property tests, the micro-benchmark and the tables all go through it."""

from __future__ import annotations

from typing import Final

from strop.compiler.kernels.attention import AttentionKernel
from strop.compiler.kernels.border import BorderKernel
from strop.compiler.kernels.contract import Kernel
from strop.compiler.kernels.convolution import DirectConvolution
from strop.compiler.kernels.convolution_stem import StemConvolution
from strop.compiler.kernels.copy import CopyKernel
from strop.compiler.kernels.depthwise import DepthwiseConvolution
from strop.compiler.kernels.depthwise_bytes import DepthwiseBytes
from strop.compiler.kernels.gated_product import GatedProduct
from strop.compiler.kernels.gather import GatherKernel
from strop.compiler.kernels.global_average import GlobalAverageKernel
from strop.compiler.kernels.inverted_residual import InvertedResidual
from strop.compiler.kernels.matrix_product import MatrixProductKernel
from strop.compiler.kernels.place import PlaceKernel
from strop.compiler.kernels.pointwise import PointwiseKernel
from strop.compiler.kernels.pool import PoolKernel
from strop.compiler.kernels.recurrent import RecurrentKernel
from strop.compiler.kernels.resample import ResampleKernel
from strop.compiler.kernels.statistics import StatisticsKernel
from strop.compiler.kernels.winograd import WinogradConvolution

KERNELS: Final[tuple[Kernel, ...]] = (
    InvertedResidual(),
    GatedProduct(),
    StemConvolution(),
    DepthwiseConvolution(),
    DepthwiseBytes(),
    WinogradConvolution(4),
    WinogradConvolution(2),
    DirectConvolution(),
    AttentionKernel(),
    MatrixProductKernel(),
    GlobalAverageKernel(),
    PoolKernel(),
    RecurrentKernel(),
    ResampleKernel(),
    StatisticsKernel(),
    PlaceKernel(),
    GatherKernel(),
    CopyKernel(),
    PointwiseKernel(),
    BorderKernel(),
)
"""Every kernel family, the more special before the more general: of equal estimates the first is taken."""
