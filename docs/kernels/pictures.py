# SPDX-License-Identifier: Apache-2.0
"""Draws the pictures of these pages: docs/kernels/pictures.py writes the .svg files beside itself."""
import os

INK, PALE, BLUE, GREEN, RED = "#333", "#eee", "#9ecae1", "#a1d99b", "#fcae91"


class Picture:
    def __init__(self, width, height):
        self.width, self.height, self.parts = width, height, []

    def box(self, x, y, w, h, fill, label="", size=12):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{fill}" stroke="{INK}"/>')
        if label:
            self.text(x + w / 2, y + h / 2 + size / 3, label, size, "middle")

    def text(self, x, y, label, size=12, anchor="start"):
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}">{label}</text>')

    def arrow(self, x1, y1, x2, y2):
        self.parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{INK}" marker-end="url(#tip)"/>')

    def save(self, name):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif" fill="{INK}">\n'
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
                f'<path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>\n'
                f'<rect width="{self.width}" height="{self.height}" fill="white"/>\n')
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), "w") as out:
            out.write(head + "\n".join(self.parts) + "\n</svg>\n")


def layer_norm():
    p = Picture(720, 250)
    p.text(10, 20, "Rows of 128 columns in bf16: 16 packs of 16 bytes. Two rows share a warp.", 14)
    for row in range(2):
        y = 40 + row * 50
        p.text(10, y + 20, f"row {row}")
        for pack in range(16):
            p.box(70 + pack * 38, y, 38, 30, BLUE if row == 0 else GREEN, f"{pack + 16 * row}", 11)
    p.text(70, 158, "The number is the lane that keeps the pack of z in registers.")
    for i, label in enumerate(("read residual, branch", "z, write z", "mean: shuffles", "variance: shuffles", "write y")):
        p.box(10 + i * 142, 190, 124, 36, PALE, label, 11)
        if i:
            p.arrow(10 + i * 142 - 18, 208, 10 + i * 142, 208)
    p.save("layer_norm.svg")


def layer_norm_backward():
    p = Picture(720, 250)
    p.text(10, 20, "dgamma, dbeta, dbias: sums down the columns, without atomics.", 14)
    for block in range(3):
        y = 40 + block * 60
        p.text(10, y + 24, f"block {block}")
        for warp in range(4):
            p.box(70, y + warp * 11, 150, 11, BLUE if warp % 2 == 0 else GREEN)
        p.arrow(224, y + 22, 262, y + 22)
        p.box(264, y + 4, 150, 36, PALE, "one row of sums", 11)
        p.arrow(416, y + 22, 470, y + 22)
        p.box(472, y + 12, 100, 20, RED, f"partial {block}", 11)
        p.arrow(574, y + 22, 612, 100 + block * 12 - 12)
    p.box(614, 70, 96, 66, BLUE, "+= in order", 12)
    p.text(145, 222, "rows of a block: each warp keeps", 11, "middle")
    p.text(145, 236, "its columns' sums in registers", 11, "middle")
    p.text(339, 222, "its warps, added up in", 11, "middle")
    p.text(339, 236, "order in shared memory", 11, "middle")
    p.text(522, 222, "workspace", 11, "middle")
    p.text(662, 152, "a second kernel", 11, "middle")
    p.save("layer_norm_backward.svg")


def window_attention():
    p = Picture(720, 330)
    p.text(10, 20, "One head of one window. A warp has 16 (or 32) queries and passes over the keys, 16 at a time.", 14)
    p.box(40, 60, 90, 180, PALE)
    p.box(40, 120, 90, 30, BLUE, "16 q")
    p.text(85, 50, "q: N x d", 12, "middle")
    p.box(170, 60, 180, 180, PALE)
    p.box(170, 120, 180, 30, PALE)
    p.box(230, 120, 30, 30, RED, "S", 11)
    p.text(260, 50, "N x N: never stored", 12, "middle")
    p.box(390, 60, 90, 180, PALE)
    p.box(390, 120, 90, 30, GREEN, "16 k, 16 v")
    p.text(435, 50, "k, v: in shared memory", 12, "middle")
    p.box(520, 60, 90, 180, PALE)
    p.box(520, 120, 90, 30, BLUE, "16 o")
    p.text(565, 50, "o: in registers", 12, "middle")
    p.arrow(262, 135, 320, 135)
    p.text(260, 180, "next tile of keys", 11, "middle")
    p.text(260, 200, "sum += exp(S - m)", 11, "middle")
    p.text(10, 275, "If S exceeds the maximum m by much: o and the sum are multiplied by exp(old m - new m).")
    p.text(10, 300, "The end: o / sum takes the place of q in shared memory; the block joins the heads and writes whole rows.")
    p.save("window_attention.svg")


def wml_loss():
    p = Picture(720, 300)
    p.text(10, 20, "A block: 64 images, and a chunk of the bank, 64 rows at a time. A row of cells is a warp's theta.", 14)
    p.box(20, 90, 80, 100, BLUE, "codes u")
    p.text(60, 208, "64 x K", 12, "middle")
    p.box(140, 40, 240, 34, GREEN, "64 bank rows, K bits each")
    for warp in range(4):
        for column in range(4):
            p.box(140 + column * 60, 90 + warp * 25, 60, 25, RED, "16 x 16", 11)
    p.text(140, 208, "theta, in registers: becomes weights")
    p.arrow(390, 140, 450, 140)
    p.text(420, 70, "times the", 11, "middle")
    p.text(420, 84, "bank rows", 11, "middle")
    p.box(455, 90, 80, 100, BLUE, "du")
    p.text(495, 208, "sums in registers", 12, "middle")
    p.arrow(540, 140, 590, 140)
    p.box(595, 90, 110, 100, PALE, "sums of chunks")
    p.text(650, 208, "in order", 12, "middle")
    p.text(10, 250, "One launch: count similar pairs (S1, S0), wait for all blocks, the picture, wait for all, add up the chunks.")
    p.text(10, 278, "Each float32 is three bf16, so that tensor cores make theta as good as a float32 sum.")
    p.save("wml_loss.svg")


def bias_gelu():
    p = Picture(720, 300)
    p.text(10, 20, "Rows of 512 columns in bf16. A thread has the same 8 columns in every fourth row of its block.", 14)
    for thread in range(8):
        p.box(70 + thread * 50, 40, 50, 24, BLUE if thread == 2 else PALE, f"t {thread}", 11)
    p.text(480, 56, "... t 63")
    for row in range(6):
        y = 70 + row * 24
        p.text(60, y + 16, f"row {row}", 12, "end")
        for thread in range(8):
            mine = thread == 2 and row % 4 == 0
            p.box(70 + thread * 50, y, 50, 24, BLUE if mine else "white", f"t {row % 4 * 64 + thread}", 11)
    p.box(560, 70, 140, 60, GREEN, "bias: 8 floats", 12)
    p.text(630, 146, "in registers of t 2", 12, "middle")
    p.box(560, 160, 140, 54, RED, "its part of dbias", 12)
    p.text(10, 244, "Forward: x in, v = x + bias, y = v Phi(v) out. Backward: x and dy in, dx out, dx added to the thread's sums.")
    p.text(10, 264, "The end: the four threads of a column add up through shared memory; the block leaves one row of partial sums,")
    p.text(10, 284, "and a second kernel adds up the blocks, in order.")
    p.save("bias_gelu.svg")


def linear_gelu():
    p = Picture(720, 330)
    p.text(10, 20, "A block has a run of tiles, down a panel and on into the next. A warp's 64 x 64 sums are in registers.", 14)
    for panel in range(3):
        for tile in range(4):
            block = (panel * 4 + tile) // 3
            p.box(20 + panel * 74, 40 + tile * 34, 74, 34, (BLUE, GREEN, RED, PALE)[block], f"block {block}", 11)
    p.text(20, 192, "Rows down, hidden across. A panel, a", 11)
    p.text(20, 206, "column of tiles, has w's same rows.", 11)
    p.text(290, 54, "The ring: three steps of x (and of w, where its panel isn't kept)", 12)
    for step, (label, fill) in enumerate((("step i: multiplied", BLUE), ("step i + 1: arriving", PALE), ("step i + 2: arriving", PALE))):
        p.box(290 + step * 140, 64, 132, 30, fill, label, 11)
    p.text(290, 116, "On into the block's next tile: the copies go on while a tile is stored.", 11)
    p.text(290, 150, "mma's columns of part j are pairs 2j, 2j + 1 of each 8 columns of w:", 12)
    for pair in range(16):
        p.box(290 + pair * 25, 160, 25, 26, (BLUE, GREEN, RED, PALE)[pair % 4], f"{pair % 4}", 11)
    p.text(290, 204, "so a lane's four parts of a row are 8 neighbouring columns: 16 bytes.", 11)
    steps = ("sums, float32", "pre out: 16 bytes", "v = sum + bias", "y = v Phi(v)", "y out: 16 bytes")
    for i, label in enumerate(steps):
        p.box(10 + i * 142, 236, 128, 34, PALE, label, 11)
        if i:
            p.arrow(10 + i * 142 - 14, 253, 10 + i * 142, 253)
    p.text(10, 298, "Backward: dpre = sums times the slope at pre + bias, out at once. A block leaves a row of partial sums of")
    p.text(10, 316, "dbias for each of its panels, which a second kernel adds up in order.")
    p.save("linear_gelu.svg")


def optimizer_update():
    p = Picture(720, 290)
    p.text(10, 20, "One flat array of all parameters. A block has 1024 elements of one segment, a thread four of them.", 14)
    p.box(20, 50, 230, 34, BLUE, "segment 0, decay a")
    p.box(250, 50, 300, 34, GREEN, "segment 1, decay b")
    p.box(550, 50, 150, 34, BLUE, "segment 2, ...")
    p.text(250, 44, "begins anywhere", 11, "middle")
    for tick in range(11):
        p.box(20 + tick * 68 if tick else 20, 88, 1, 8, INK)
    p.text(20, 110, "multiples of 32 elements: whole sectors", 11)
    for block, (x, w) in enumerate(((20, 136), (156, 94), (224, 136), (360, 136), (496, 54))):
        p.box(x, 124 + (block > 1) * 38, w, 30, BLUE if block < 2 else GREEN, f"block {block}", 11)
    p.text(260, 142, "block 2 starts at a multiple of 32, and leaves out what isn't of its segment", 11)
    for i, label in enumerate(("read w, g, state", "g = scale g", "RMSprop, AdamW, SGD", "write w, state", "write 16-bit copy")):
        p.box(10 + i * 142, 222, 128, 34, PALE, label, 10)
        if i:
            p.arrow(10 + i * 142 - 14, 239, 10 + i * 142, 239)
    p.text(10, 280, "scale and skip are read from GPU memory, so the host needn't wait for the gradient's norm.")
    p.save("optimizer_update.svg")


def hamming_topk():
    p = Picture(720, 330)
    p.text(10, 20, "A sample bounds d. A warp has a few queries and a chunk of the database, a row a lane.", 14)
    for chunk in range(3):
        x = 20 + chunk * 130
        p.box(x, 40, 120, 34, BLUE, f"chunk {chunk}")
        p.arrow(x + 60, 74, x + 60, 92)
        for d in range(6):
            p.box(x + d * 20, 92, 20, 26, GREEN, str((3, 0, 2, 5, 1, 4, 2, 1, 4, 2, 3, 0, 1, 5, 2, 0, 4, 1)[chunk * 6 + d]), 11)
    p.text(420, 60, "1. popcount(query xor row), 64 bits a step;")
    p.text(420, 78, "   counts by distance, of rows within the bound")
    p.text(420, 108, "counts[query, chunk, distance]; marks[query, 32 rows]")
    p.text(20, 146, "2. sums over earlier chunks, and over nearer distances: the place of each chunk's first row at each distance")
    for d in range(6):
        p.box(20 + d * 60, 160, 60, 28, PALE, f"d {d}: {(0, 6, 12, 20, 27, 35)[d]}", 11)
    p.text(400, 179, "rows that are nearer; the k-th row's distance")
    p.text(20, 220, "3. marked rows again: place = start + rows at this distance in earlier chunks, in this one so far, in earlier lanes")
    for lane in range(8):
        p.box(20 + lane * 44, 240, 44, 28, RED if lane in (1, 4, 6) else "white", f"{(5, 2, 3, 7, 2, 9, 2, 4)[lane]}", 12)
    p.text(390, 257, "__match_any_sync: three lanes have d = 2,", 12)
    p.text(390, 275, "and take the next three places of it", 12)
    p.text(20, 300, "place &lt; k: the row and its distance are written there. Sorted without a sort, in one order: (distance, row).")
    p.save("hamming_topk.svg")


def interaction_merge():
    p = Picture(720, 350)
    p.text(10, 20, "Forward: a warp walks the pixels under its windows row by row, a pixel's channels over its lanes.", 14)
    for y in range(5):
        for x in range(7):
            first, second = x < 3 and y < 3, 2 <= x < 5 and y < 3
            fill = RED if first and second else BLUE if first else GREEN if second else "white"
            p.box(20 + x * 28, 40 + y * 28, 28, 28, fill)
    p.text(20, 198, "3 x 3 windows, 2 apart: the red", 11)
    p.text(20, 212, "pixels are in two windows", 11)
    steps = ("local + the upsampled map, in shared memory", "mean and variance: shuffles; normalise",
             "maximum of 3 along the row: registers", "maximum down 3 rows: shared memory",
             "after the third row: out and argmax")
    for i, label in enumerate(steps):
        p.box(250, 40 + i * 34, 290, 26, PALE, label, 11)
        if i:
            p.arrow(395, 40 + i * 34 - 8, 395, 40 + i * 34)
    p.text(556, 57, "a pixel is normalised", 11)
    p.text(556, 71, "once for all its windows", 11)
    p.text(556, 125, "its last pixel is the next", 11)
    p.text(556, 139, "window's first", 11)
    p.text(10, 246, "Backward: a window's middle and right, four pixels. Each takes dout of the windows that it won:", 14)
    for n, label in enumerate(("here", "here, right", "here, below", "here, right, below, corner")):
        p.box(20 + n % 2 * 180, 262 + n // 2 * 34, 180, 34, BLUE if n == 0 else PALE, label, 11)
    p.text(400, 276, "four windows in registers, the next pixel read", 11)
    p.text(400, 292, "while this one is used; then the norm's gradient,", 11)
    p.text(400, 308, "dlocal out, and four additions to the warp's own", 11)
    p.text(400, 324, "dglob in shared memory", 11)
    p.save("interaction_merge.svg")


layer_norm()
layer_norm_backward()
window_attention()
wml_loss()
bias_gelu()
linear_gelu()
optimizer_update()
hamming_topk()
interaction_merge()
