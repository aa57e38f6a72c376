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
    p.text(10, 20, "A block: 64 images, and a chunk of the bank, 128 rows at a time. A cell is a warp's 32 x 32 of theta.", 14)
    p.box(20, 90, 80, 100, BLUE, "codes u")
    p.text(60, 208, "64 x K", 12, "middle")
    p.box(140, 40, 240, 34, GREEN, "128 bank rows, K bits each")
    for row in range(2):
        for column in range(4):
            p.box(140 + column * 60, 90 + row * 50, 60, 50, RED, "32 x 32", 11)
    p.text(140, 208, "theta, in registers: becomes weights")
    p.arrow(390, 140, 450, 140)
    p.text(420, 70, "times the", 11, "middle")
    p.text(420, 84, "bank rows", 11, "middle")
    p.box(455, 90, 80, 100, BLUE, "du")
    p.text(495, 208, "sums in registers", 12, "middle")
    p.arrow(540, 140, 590, 140)
    p.box(595, 90, 110, 100, PALE, "sums of chunks")
    p.text(650, 208, "in order", 12, "middle")
    p.text(10, 250, "Launches: 1. count similar pairs (S1, S0)   2. the picture, a block a chunk   3. add up the chunks")
    p.text(10, 278, "Each float32 is three bf16, so that tensor cores make theta as good as a float32 sum.")
    p.save("wml_loss.svg")


layer_norm()
window_attention()
wml_loss()
