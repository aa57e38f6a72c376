# SPDX-License-Identifier: Apache-2.0
"""HybridHash in plain PyTorch, after docs/specification.md, section 1, with the reference's
parameter names: what a PyTorch user would run, and the yardstick of compare.py."""
import torch
import torch.nn.functional as F
from torch import nn

PRESETS = {
    "micro": dict(size=32, patch=2, in_chans=3, dims=(32, 64, 128), heads=(1, 2, 4), depths=(1, 1, 2)),
    "paper": dict(size=224, patch=4, in_chans=3, dims=(128, 256, 512), heads=(4, 8, 16), depths=(2, 2, 15)),
}


def norm(channels):
    return nn.LayerNorm(channels, eps=1e-6)


def attend(qkv, heads):
    """(..., N, 3C) -> (..., N, C), heads interleaved last."""
    *rest, n, c3 = qkv.shape
    d = c3 // 3 // heads
    q, k, v = qkv.reshape(*rest, n, 3, heads, d).movedim(-3, 0).movedim(-2, -3)
    p = (q @ k.transpose(-2, -1) * d**-0.5).softmax(dim=-1)
    return (p @ v).movedim(-3, -1).reshape(*rest, n, heads * d)


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x):
        return self.proj(attend(self.qkv(x), self.heads))


class Mlp(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.norm1, self.attn = norm(channels), Attention(channels, heads)
        self.norm2, self.mlp = norm(channels), Mlp(channels)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GlobalAttention(nn.Module):
    def __init__(self, channels, positions):
        super().__init__()
        self.pos_embed_glo = nn.Parameter(torch.zeros(1, positions, channels))
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(self, z):
        b, c, m, _ = z.shape
        tokens = z.reshape(b, m * m, c) + self.pos_embed_glo  # a raw reshape, as in the reference
        return self.proj(attend(self.qkv(tokens), 8)).view(b, m, m, c).permute(0, 3, 1, 2)


class Interaction(nn.Module):
    def __init__(self, cin, cout, side, block):
        super().__init__()
        self.block = block
        self.conv = nn.Conv2d(cin, cout, 3, padding=1)
        self.conv_glo = nn.Conv2d(cin, cout, 1, bias=False)
        self.global_attention = GlobalAttention(cout, side * side)
        self.norm = norm(cout)

    def forward(self, x):
        glo = self.global_attention(F.avg_pool2d(self.conv_glo(x), self.block))
        glo = F.interpolate(glo, scale_factor=self.block, mode="bilinear", align_corners=False)
        x = self.norm((self.conv(x) + glo).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.max_pool2d(x, 3, 2, 1)


class Level(nn.Module):
    def __init__(self, grid, block, channels, heads, depth):
        super().__init__()
        self.grid, self.block = grid, block
        self.pos_embed = nn.Parameter(torch.zeros(1, grid * grid, block * block, channels))
        self.transformer_encoder = nn.Sequential(*[Layer(channels, heads) for _ in range(depth)])

    def forward(self, x):
        if hasattr(self, "pool"):
            x = self.pool(x)
        b, c, h, _ = x.shape
        g, s = self.grid, self.block
        x = x.permute(0, 2, 3, 1).reshape(b, g, s, g, s, c).transpose(2, 3).reshape(b, g * g, s * s, c)
        x = self.transformer_encoder(x + self.pos_embed)
        x = x.reshape(b, g, g, s, s, c).transpose(2, 3).reshape(b, h, h, c)
        return x.permute(0, 3, 1, 2)


class HashLayer(nn.Module):
    def __init__(self, channels, bits, block):
        super().__init__()
        self.block = block
        self.convS1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.convS2 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.global_attention = GlobalAttention(channels, 1)
        self.conv2 = nn.Conv2d(channels, bits, 1)

    def forward(self, x):
        glo = self.global_attention(F.avg_pool2d(x, self.block))
        glo = F.interpolate(glo, scale_factor=self.block, mode="bilinear", align_corners=False)
        x = self.conv2(F.max_pool2d(self.convS2(self.convS1(x)) + glo, 3, 2, 1))
        return torch.tanh(x.mean((2, 3)))


class PatchEmbed(nn.Module):
    def __init__(self, cin, cout, patch):
        super().__init__()
        self.proj = nn.Conv2d(cin, cout, patch, patch)

    def forward(self, x):
        return self.proj(x)


class HybridHash(nn.Module):
    def __init__(self, preset, bits):
        super().__init__()
        c = PRESETS[preset]
        block = c["size"] // c["patch"] // 4
        self.patch_embed = PatchEmbed(c["in_chans"], c["dims"][0], c["patch"])
        levels = []
        for l in range(3):
            level = Level(4 >> l, block, c["dims"][l], c["heads"][l], c["depths"][l])
            if l:
                level.pool = Interaction(c["dims"][l - 1], c["dims"][l], 8 >> l, block)
            levels.append(level)
        self.levels = nn.Sequential(*levels)
        self.norm = norm(c["dims"][2])
        self.hashlayer_train = HashLayer(c["dims"][2], bits, block)

    def forward(self, x):
        x = self.levels(self.patch_embed(x))
        return self.hashlayer_train(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


def wml_loss(u, y, index, bank, bank_labels, alpha):
    """The reference's weighted maximum-likelihood loss (section 2); updates the bank first."""
    bank[index] = u.detach()
    bank_labels[index] = y
    similar = (y @ bank_labels.t() > 0).float()
    theta = alpha * u @ bank.t()
    loss = torch.log1p(torch.exp(-theta.abs())) + theta.clamp(min=0) - similar * theta
    s1 = similar.sum()
    s0 = similar.numel() - s1
    weight = torch.where(similar > 0, similar.numel() / s1.clamp(min=1), similar.numel() / s0.clamp(min=1))
    return (loss * weight).mean()


def initialise(net):
    """As the reference does: matrices truncated normal."""
    for name, p in net.named_parameters():
        if p.dim() > 1 and "pos_embed_glo" not in name:
            nn.init.trunc_normal_(p, std=0.02)


def training_step(net, forward, x, classes=10, bank_rows=5000, **optimizer):
    """A call that trains `net` on the made-up images x for one step, through `forward`, with the sizes of `hybridhash bench`."""
    batch, bits, device = x.shape[0], net.hashlayer_train.conv2.out_channels, x.device
    net.train()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=2.5e-5, weight_decay=1e-5, **optimizer)
    y = torch.eye(classes, device=device)[torch.arange(batch, device=device) % classes]
    index = torch.arange(batch, device=device)
    bank = torch.zeros(max(bank_rows, batch), bits, device=device)
    bank_labels = torch.zeros(max(bank_rows, batch), classes, device=device)

    def step():
        optimizer.zero_grad()
        wml_loss(forward(x), y, index, bank, bank_labels, 0.5).backward()
        optimizer.step()
    return step
