# SPDX-License-Identifier: Apache-2.0
"""The page's plots, as SVG text. Colours that show on a light and on a dark page."""
import math
from xml.sax.saxutils import escape

INK, OURS, OTHER, LINE = "#888888", "#2a78c8", "#c87a2a", "#55a868"


def svg(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'font-family="sans-serif" font-size="12" fill="{INK}">\n' + "\n".join(body) + "\n</svg>\n")


def text(x, y, words, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def bars(title, rows):
    """rows: (label, value, whether it is ours), the longest bar the greatest value."""
    most = max(value for _, value, _ in rows)
    body = [text(10, 18, title)]
    for i, (label, value, ours) in enumerate(rows):
        y = 32 + 22 * i
        length = 360 * value / most
        body += [text(330, y + 12, label, "end"),
                 f'<rect x="338" y="{y}" width="{length:.1f}" height="15" fill="{OURS if ours else OTHER}"/>',
                 text(344 + length, y + 12, f"{value:,.0f}")]
    return svg(790, 44 + 22 * len(rows), body)


class LogAxes:
    """Two logarithmic axes from the decade below the least value to that above the greatest."""

    def __init__(self, title, x_name, y_name, xs, ys):
        self.x, self.y = self._decades(xs), self._decades(ys)
        self.body = [text(10, 18, title), text(350, 415, x_name, "middle"), text(10, 36, y_name)]
        for decade in range(self.x[0], self.x[1] + 1):
            at = self.place(10.0**decade, 10.0**self.y[0])[0]
            self.body += [f'<line x1="{at:.1f}" y1="45" x2="{at:.1f}" y2="380" stroke="{INK}" stroke-opacity="0.3"/>',
                          text(at, 396, f"1e{decade}", "middle")]
        for decade in range(self.y[0], self.y[1] + 1):
            at = self.place(10.0**self.x[0], 10.0**decade)[1]
            self.body += [f'<line x1="60" y1="{at:.1f}" x2="640" y2="{at:.1f}" stroke="{INK}" stroke-opacity="0.3"/>',
                          text(54, at + 4, f"1e{decade}", "end")]

    @staticmethod
    def _decades(values):
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return low, max(high, low + 1)

    def place(self, x, y):
        across = (math.log10(x) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(y) - self.y[0]) / (self.y[1] - self.y[0])
        return 60 + 580 * across, 380 - 335 * up

    def dot(self, x, y, label):
        px, py = self.place(x, y)
        self.body += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{OURS}"/>', text(px + 7, py + 4, label)]

    def line(self, points):
        path = " ".join("{:.1f},{:.1f}".format(*self.place(x, y)) for x, y in points)
        self.body.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.5"/>')

    def svg(self):
        return svg(760, 425, self.body)


def roofline(points, dram_gb_s, peak_tflops):
    """points: (label, operations a byte, TFLOP/s). The roof is the least of both limits; the GPU's published figures."""
    xs = [p[1] for p in points] + [peak_tflops * 1e3 / dram_gb_s * 2]
    ys = [p[2] for p in points] + [peak_tflops]
    axes = LogAxes("Families of kernels under the roofs of DRAM and tensor cores", "operations a byte of DRAM", "TFLOP/s", xs, ys)
    low, high = 10.0**axes.x[0], 10.0**axes.x[1]
    ridge, floor = peak_tflops * 1e3 / dram_gb_s, 10.0**axes.y[0]
    start = max(low, floor * 1e3 / dram_gb_s)
    axes.line([(start, start * dram_gb_s / 1e3), (ridge, peak_tflops), (max(high, ridge), peak_tflops)])
    for label, x, y in points:
        axes.dot(x, y, label)
    return axes.svg()


def calibration(points):
    """points: (kernel, estimated us, measured us), with the line on which they agree."""
    values = [v for p in points for v in p[1:]]
    axes = LogAxes("Kernels of a training step, all launches together", "ESTIMATED us", "measured us", values, values)
    axes.line([(10.0**axes.x[0], 10.0**axes.y[0]), (10.0**axes.x[1], 10.0**axes.y[1])])
    for label, estimate, us in points:
        axes.dot(estimate, us, label.removesuffix("_kernel"))
    return axes.svg()
