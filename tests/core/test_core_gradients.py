"""Gradients of q, k, v and the weights, against dense float64, on tensors that take the fused paths."""

import math

import pytest
import torch
from core_oracle import oracle
from test_core_attention import masks, tensors
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import (
    AdditiveAttention,
    Columns,
    KeyWeights,
    LocalWindow,
    Strided,
    attention,
    explain_kernel,
    sparse_attention,
)

CASES = {
    "fused+lse": (300, [2, 3, 9, 50], None),
    "correction": (300, [2, 3, 9, 50], [[2.0, 0.6, -1.5, 1.0], [1.0, 1.0, 3.0, -0.7]]),
    "merge": (300, [2, 3, 9, 50], [[0.2, 1.5, -0.5, 100.0], [0.5, 0.3, 1.0, -2.0]]),
    "dense": (24, list(range(1, 17)), [[0.25 * key - 2 for key in range(16)], [3.0 - 0.2 * key for key in range(16)]]),
}
WATCHED = torch.tensor([3, 4, 0, 20])


def compare(got, want, room=2e-5):
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype != torch.float64
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=room * float(theirs.abs().max()))


def differentiate(run, inputs):
    """Gradients of random sums over output and columns with respect to the inputs."""
    output, columns = run(*inputs)
    generator = torch.Generator().manual_seed(9)
    loss = (output * torch.randn(output.shape, generator=generator)).sum()
    if columns is not None:
        loss = loss + 5 * (columns * torch.randn(columns.shape, generator=generator)).sum()
    return torch.autograd.grad(loss, inputs)


def oracle_run(index, watched, **arguments):
    def run(query, key, value, weight=None):
        table = None
        if weight is not None:
            ones = torch.ones(2, 1, 1, key.shape[2], dtype=torch.float64)
            table = ones.index_copy(3, torch.tensor(index), weight[:, None, None])
        output, probabilities = oracle(query, key, value, weights=table, **arguments)
        return output, probabilities[..., WATCHED].mean(1) if watched else None

    return run


def core_run(index, watched, path, **arguments):
    def run(query, key, value, weight=None):
        floor = 0.5 if path == "correction" else None
        weights = None if weight is None else KeyWeights(torch.tensor(index), weight, floor=floor)
        capture = Columns(WATCHED) if watched else None
        options = {"key_weights": weights, "capture": capture, "enable_gqa": query.shape[1] != key.shape[1]}
        assert explain_kernel(query, key, value, **options, **arguments).path == path
        return attention(query, key, value, **options, **arguments)

    return run


@pytest.mark.parametrize("path", sorted(CASES))
@pytest.mark.parametrize("mask", ["none", "bool", "causal"])
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "output only"])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_gradients_equal_dense_float64(path, mask, watched, key_heads):
    if path == "fused+lse" and not watched:
        pytest.skip("the library's own call")
    keys, index, values = CASES[path]
    inputs = [tensor.requires_grad_() for tensor in tensors(keys=keys, key_heads=key_heads)]
    arguments = {"is_causal": True} if mask == "causal" else {"mask": masks(mask, 2, 96, keys, torch.float32)}
    if values is not None:
        inputs.append(torch.tensor(values, requires_grad=True))
    doubles = [tensor.detach().double().requires_grad_() for tensor in inputs]
    want = differentiate(oracle_run(index, watched, **arguments), doubles)
    compare(differentiate(core_run(index, watched, path, **arguments), inputs), want)


@pytest.mark.parametrize(("keys", "path"), [(300, "sdpa+lse"), (77, "sdpa+dense")])
def test_columns_beside_the_librarys_own_output(keys, path):
    """Three-dimensional inputs, which SDPA gives to no fused kernel."""
    inputs = [tensor.squeeze(1).requires_grad_() for tensor in tensors(keys=keys, heads=1, key_heads=1)]
    doubles = [tensor.detach().double().unsqueeze(1).requires_grad_() for tensor in inputs]

    def want_run(*qkv):
        output, probabilities = oracle(*qkv)
        return output.squeeze(1), probabilities[..., WATCHED].squeeze(1)

    want = differentiate(want_run, doubles)
    compare(differentiate(core_run(None, True, path), inputs), [gradient.squeeze(1) for gradient in want])


@pytest.mark.parametrize("path", ["correction", "merge", "dense"])
def test_gradient_of_the_weights_alone(path):
    keys, index, values = CASES[path]
    inputs = tensors(keys=keys)
    weight = torch.tensor(values, requires_grad=True)
    want = differentiate(lambda w: oracle_run(index, True)(*inputs, w), [weight.detach().double().requires_grad_()])
    compare(differentiate(lambda w: core_run(index, True, path)(*inputs, w), [weight]), want)


def test_the_library_alone_would_get_the_columns_wrong():
    """Why the kernels have a backward of our own: the library's formula ignores the gradient of the lse."""
    query, key, value = (tensor.requires_grad_() for tensor in tensors())
    _, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    columns = torch.exp(query @ key[:, :, :4].transpose(-1, -2) * 0.25 - lse[..., None])
    (wrong,) = torch.autograd.grad(columns.square().sum(), query)
    probabilities = torch.softmax(query @ key.transpose(-1, -2) * 0.25, -1)[..., :4]
    (right,) = torch.autograd.grad(probabilities.square().sum(), query)
    assert float((wrong - right).abs().max()) > 0.01 * float(right.abs().max())
    ours = attention(query, key, value, capture=Columns(torch.arange(4), reduce="none")).columns
    compare(torch.autograd.grad(ours.square().sum(), query), (right.double(),))


@pytest.mark.parametrize("dim", [8, 64, 160, 256])
@pytest.mark.parametrize("is_causal", [False, True])
def test_head_dimensions(dim, is_causal):
    inputs = [tensor.requires_grad_() for tensor in tensors(rows=40, keys=150, heads=2, key_heads=2, dim=dim)]
    index = CASES["merge"][1]
    inputs.append(torch.tensor(CASES["merge"][2], requires_grad=True))
    doubles = [tensor.detach().double().requires_grad_() for tensor in inputs]
    want = differentiate(oracle_run(index, True, is_causal=is_causal), doubles)
    compare(differentiate(core_run(index, True, "merge", is_causal=is_causal), inputs), want)


@pytest.mark.parametrize("path", ["fused+lse", "correction", "merge"])
def test_half_precision_gradients(path):
    """As near as bfloat16 comes: the kernel's backward works with rounded outputs, the library's own included."""
    _, index, values = CASES[path]
    inputs = [tensor.requires_grad_() for tensor in tensors(dtype=torch.bfloat16)]
    if values is not None:
        inputs.append(torch.tensor(values, requires_grad=True))
    doubles = [tensor.detach().double().requires_grad_() for tensor in inputs]
    want = differentiate(oracle_run(index, True), doubles)
    compare(differentiate(core_run(index, True, path), inputs), want, room=0.03)


def test_output_gradients_of_the_neutral_path_are_the_librarys_to_the_bit():
    inputs = [tensor.requires_grad_() for tensor in tensors()]
    cotangent = torch.randn(2, 4, 96, 16)
    stock = torch.autograd.grad((scaled_dot_product_attention(*inputs) * cotangent).sum(), inputs)
    buffer = torch.zeros(2, 96, 4)
    watched = attention(*inputs, capture=Columns(WATCHED, into=buffer)).output
    for ours, theirs in zip(torch.autograd.grad((watched * cotangent).sum(), inputs), stock, strict=True):
        assert torch.equal(ours, theirs)


def test_gradient_of_a_weight_at_zero_is_its_right_derivative_averaged_with_the_left():
    """The mass has a kink at w = 0, where |w| gets slope 0; the numerator's slope is exact."""
    query, key, value = tensors()
    weight = torch.zeros(1, requires_grad=True)
    cotangent = torch.randn(2, 4, 96, 16, dtype=torch.float64)

    def loss(w):
        return (attention(query, key, value, key_weights=KeyWeights(torch.tensor([5]), w)).output * cotangent).sum()

    (gradient,) = torch.autograd.grad(loss(weight), weight)
    ahead, behind = (loss(torch.tensor([step])) for step in (1e-3, -1e-3))
    torch.testing.assert_close(gradient.double(), ((ahead - behind) / 2e-3)[None], rtol=2e-3, atol=1e-2)


def test_rows_that_see_nothing_have_gradient_zero():
    inputs = [tensor.requires_grad_() for tensor in tensors()]
    weight = torch.zeros(2, requires_grad=True)
    mask = torch.ones(96, 300, dtype=torch.bool)
    mask[7] = False
    mask[9, 2:] = False
    result = attention(
        *inputs, mask=mask, key_weights=KeyWeights(torch.tensor([0, 1]), weight), capture=Columns(WATCHED)
    )
    loss = result.output[:, :, [7, 9]].sum() + result.columns[:, [7, 9]].sum()
    for gradient in torch.autograd.grad(loss, [*inputs, weight]):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_learned_mask_gets_its_gradient():
    query, key, value = tensors()
    bias = torch.randn(96, 300, generator=torch.Generator().manual_seed(4))
    weight = torch.tensor([[0.2, 3.0]])
    got, want = [], []
    for mask, grads in ((bias.clone().requires_grad_(), got), (bias.double().requires_grad_(), want)):
        if grads is got:
            weights = KeyWeights(torch.tensor([2, 3]), weight)
            output, columns = attention(query, key, value, mask=mask, key_weights=weights, capture=Columns(WATCHED))
        else:
            table = torch.ones(1, 1, 1, 300, dtype=torch.float64)
            table[..., 2], table[..., 3] = 0.2, 3.0
            output, probabilities = oracle(query, key, value, mask=mask, weights=table)
            columns = probabilities[..., WATCHED].mean(1)
        grads += torch.autograd.grad(output.square().sum() + columns.square().sum(), mask)
    compare(got, want, room=5e-5)


def test_second_derivatives_are_refused_not_wrong():
    inputs = [tensor.requires_grad_() for tensor in tensors()]
    columns = attention(*inputs, capture=Columns(WATCHED)).columns
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(columns.square().sum(), inputs[0], create_graph=True)


def test_second_derivatives_under_the_math_backend():
    inputs = [
        tensor.requires_grad_() for tensor in tensors(rows=3, keys=5, heads=1, key_heads=1, dim=4, dtype=torch.float64)
    ]
    weights = KeyWeights(torch.tensor([2, 3]), torch.tensor([0.3, -2.0], dtype=torch.float64))

    def run(*qkv):
        with sdpa_kernel(SDPBackend.MATH):
            return tuple(attention(*qkv, key_weights=weights, capture=Columns(torch.tensor([0, 2]))))

    assert torch.autograd.gradgradcheck(run, inputs)


def test_gradcheck_in_float64():
    inputs = [
        tensor.requires_grad_() for tensor in tensors(rows=5, keys=9, heads=2, key_heads=1, dim=4, dtype=torch.float64)
    ]
    weight = torch.tensor([0.3, -2.0], dtype=torch.float64, requires_grad=True)

    def run(query, key, value, w):
        weights = KeyWeights(torch.tensor([2, 3]), w)
        return attention(
            query,
            key,
            value,
            is_causal=True,
            enable_gqa=True,
            key_weights=weights,
            capture=Columns(torch.tensor([0, 2])),
        )

    assert torch.autograd.gradcheck(lambda *a: tuple(run(*a)), (*inputs, weight))


@pytest.mark.parametrize("pattern", [LocalWindow(9), Strided(10, 10), Strided(7, 0, is_causal=False)], ids=str)
def test_sparse_gradients(pattern):
    inputs = [tensor.requires_grad_() for tensor in tensors(rows=100, keys=100, key_heads=2)]
    inputs.append(torch.tensor([[0.2, 1.5], [-0.5, 3.0]], requires_grad=True))
    doubles = [tensor.detach().double().requires_grad_() for tensor in inputs]
    numbers = torch.arange(100)
    want = differentiate(oracle_run([2, 50], True, mask=pattern(numbers[:, None], numbers)), doubles)

    def run(query, key, value, weight):
        weights = KeyWeights(torch.tensor([2, 50]), weight)
        return sparse_attention(query, key, value, pattern, key_weights=weights, capture=Columns(WATCHED))

    compare(differentiate(run, inputs), want)


def test_additive_gradients():
    torch.manual_seed(0)
    module = AdditiveAttention(6, 5, 8).double()
    query, key = (torch.randn(2, rows, dim, dtype=torch.float64) for rows, dim in ((4, 6), (7, 5)))
    weight = torch.tensor([0.4, -1.2], dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (query, key, weight)]

    def run(q, k, w):
        return tuple(
            module(q, k, key_weights=KeyWeights(torch.tensor([1, 5]), w), capture=Columns(torch.tensor([1, 2])))
        )

    assert torch.autograd.gradcheck(run, leaves)
    run(*leaves)[0].sum().backward()
    assert all(parameter.grad is not None and math.isfinite(parameter.grad.sum()) for parameter in module.parameters())
