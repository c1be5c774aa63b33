"""The plots of docs/benchmarks.md, as SVG."""

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "libisr", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
)

from matplotlib import pyplot  # noqa: E402  (after `use`)

OWN, LIMIT, PEER = "#c2410c", "#94a3b8", "#334155"


def colour(name):
    return OWN if "libisr" in name else LIMIT if name.startswith("limit") else PEER


def save(figure, folder, name):
    figure.tight_layout()
    path = folder / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    # matplotlib leaves spaces at the ends of lines.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def threads(results, folder):
    """Million look-ups a second by threads."""
    case = results.cases("rust")[0]
    axis = results.axis("rust", case)
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for name in results.names("rust", case):
        rates = [1e3 / results.get("rust", case, name, x) for x in axis]
        style = {"color": colour(name)} if colour(name) != PEER else {}
        axes.plot([str(int(x)) for x in axis], rates, marker="o", label=name, **style)
    axes.set(xlabel="threads", ylabel="million hits a second", title=case, ylim=(0, None))
    axes.legend()
    save(figure, folder, "rust")


def bars(results, folder, part, title):
    """One panel for each case."""
    cases = results.cases(part)
    heights = [len(results.names(part, case)) for case in cases]
    size = (7, 0.6 * len(cases) + 0.3 * sum(heights))
    figure, panels = pyplot.subplots(len(cases), 1, figsize=size, height_ratios=heights, squeeze=False)
    for case, axes in zip(cases, panels[:, 0], strict=True):
        names = results.names(part, case)
        values = [results.get(part, case, name, results.axis(part, case)[0]) for name in names]
        drawn = axes.barh(names, values, color=[colour(name) for name in names])
        axes.bar_label(drawn, fmt=lambda v: f"{v:,.0f}" if v >= 100 else f"{v:.3g}", padding=2)
        axes.set(xscale="log", title=case, xlabel=results.units[part, case])
        axes.set_xlim(min(values) / 2, max(values) * 3)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
    figure.suptitle(title)
    save(figure, folder, part)


def percentiles(results, folder):
    cases = results.cases("latency")
    figure, axes = pyplot.subplots(figsize=(7, 3))
    names, axis = results.names("latency", cases[0]), results.axis("latency", cases[0])
    for at, name in enumerate(names):
        values = [results.get("latency", cases[0], name, x) for x in axis]
        axes.bar([i + 0.2 * at for i in range(len(axis))], values, width=0.2, label=name)
    axes.set_xticks([i + 0.3 for i in range(len(axis))], [f"p{x:g}" for x in axis])
    axes.set(yscale="log", ylabel="ns a hit", title="hits beside other work")
    axes.legend()
    save(figure, folder, "latency")


def growth(results, folder):
    """Every cost of point 9 by the number of pages."""
    cases = results.cases("scale")
    figure, panels = pyplot.subplots((len(cases) + 1) // 2, 2, figsize=(9, 5.5), squeeze=False)
    for case, axes in zip(cases, panels.flat, strict=False):
        for name in results.names("scale", case):
            points = [(x, results.get("scale", case, name, x)) for x in results.axis("scale", case)]
            points = [(x, y) for x, y in points if y is not None]
            axes.plot(*zip(*points, strict=True), marker="o", label=name)
        axes.set(xscale="log", xlabel="pages", ylabel=results.units["scale", case], title=case)
        if results.units["scale", case] == "ms":
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, None)
        axes.legend(fontsize=7)
    for axes in panels.flat[len(cases) :]:
        axes.set_visible(False)
    save(figure, folder, "scale")


def draw(results, folder):
    """Draws them; the part that each belongs to and what it shows, by name of file."""
    folder.mkdir(exist_ok=True)
    threads(results, folder)
    bars(results, folder, "node", "Node: nanoseconds a hit")
    bars(results, folder, "python", "Python: nanoseconds a hit")
    bars(results, folder, "http", "HTTP: CPU time a request")
    percentiles(results, folder)
    growth(results, folder)
    return {
        "rust": ("rust", "Million hits a second by threads"),
        "node": ("node", "Nanoseconds a hit in Node"),
        "python": ("python", "Nanoseconds a hit in Python"),
        "http": ("http", "CPU time a request"),
        "latency": ("latency", "Percentiles of hits beside other work"),
        "scale": ("scale", "Costs by the number of pages"),
    }
