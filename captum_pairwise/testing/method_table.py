"""The table of methods of `tutorials/guide/methods.md`: `python -m captum_pairwise.testing.method_table` prints it."""

from dataclasses import dataclass

from captum.attr import Attribution, GradientAttribution, IntegratedGradients, LayerAttribution, LayerGradCam

import captum_pairwise as cp

HEADER = ("method", "class", "order", "players", "needs", "sums to `v(N) - v(∅)`", "network passes for a pair", "paper")
COMPLETE, QUADRATURE, GAP, NO_SUM = "yes", "up to the quadrature error", "no, reports the gap", "no"
WITHIN = "with `within=True`, up to the quadrature error; otherwise only `marginal`"
FEWER = "`2 * n_samples`; fewer if a query repeats"
OF_INDEX = "with an efficient index; otherwise reports the gap"
PARTS, CELLS = "superpixels, any mask", "positions of a layer"
OPAQUE, TOWERS, AFFINE = "black box", "two towers", "two towers; pooling and linear layers after it"
TAIL, OF_TAIL = "`4`, then `{}` of the tail", "`4`, then at most `{}` of the tail"


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: name in the literature; the paper's abbreviation if it has one.
        cls: the attribution class.
        players: the parts that get credit.
        completeness: whether all credit sums to v(N) − v(∅).
        passes: number of images that one pair sends through the network, in a `SimilarityWrapper` with the default baselines, up to a few
            more: a formula of the method's arguments in backticks, then another for the tail if only the tail runs.
        source: section or equation in the paper.
        needs: requirements on the forward function; None means that the family of the class decides.
    """

    name: str
    cls: type[Attribution] | type[cp.MaxSimShapleyTaylor]
    players: str
    completeness: str
    passes: str
    source: str
    needs: str | None = None

    @property
    def order(self) -> int:
        """1 if single parts get credit, 2 if pairs of parts do; the classes of Captum have order 1."""
        return getattr(self.cls, "order", 1)

    @property
    def cells(self) -> tuple[str, ...]:
        """The text of each cell of the row."""
        needs = self.needs or ("gradients" if issubclass(self.cls, GradientAttribution) else OPAQUE)
        needs = f"layer; {needs}" if issubclass(self.cls, LayerAttribution) else needs
        package = "" if self.cls.__module__.startswith("captum_pairwise.") else "captum.attr."
        class_name = f"`{package}{self.cls.__name__}`"
        return self.name, class_name, str(self.order), self.players, needs, self.completeness, self.passes, self.source


METHODS = (
    Method("SAM", cp.LayerSAM, CELLS, f"dot product: {COMPLETE}; cosine: {GAP}", "`2`; 4 with image baselines", "eq. 3", AFFINE),
    Method("IG-SAM", cp.LayerIGSAM, CELLS, QUADRATURE, TAIL.format("2 * n_steps"), "eq. 9"),
    Method("KSAM", cp.LayerKernelSAM, CELLS, COMPLETE, TAIL.format("2 * n_samples"), "eq. 2, §4"),
    Method("SBSM", cp.SBSM, "sliding windows", NO_SUM, "`2 * n_windows`", "§A.11, eq. 10"),
    Method("PSHAP", cp.PartitionShap, "pixels, any mask", COMPLETE, "`2 * n_samples`", "§4, §A.2"),
    Method("LIME", cp.SuperpixelLime, PARTS, GAP, "at most `2 * n_samples`", "§4, §A.2", f"{OPAQUE}; extra `lime`"),
    Method("KSHAP", cp.KernelShapley, PARTS, COMPLETE, "`2 * n_samples`", "eq. 2, §4"),
    Method("VESM", cp.LayerVESM, CELLS, NO_SUM, "`2`", "§6", f"{TOWERS}; gradients"),
    Method("GCAM", LayerGradCam, CELLS, NO_SUM, "`2`", "§A.3"),
    Method("IG", IntegratedGradients, "pixels", QUADRATURE, "`2 * n_steps`", "§6"),
    Method("IG-CAM", cp.LayerIGCAM, f"{CELLS}, one image", QUADRATURE, "`2`, then `n_steps` of the tail", "§A.5"),
    Method("SAM", cp.LayerPairwiseSAM, CELLS, f"dot product: {COMPLETE}; cosine: {GAP}", "`2`; 4 with image baselines", "eq. 8", AFFINE),
    Method("factorised", cp.FactorisedShapleyTaylor, PARTS, COMPLETE, FEWER, "ours", TOWERS),
    Method("factorised", cp.LayerFactorisedShapleyTaylor, CELLS, COMPLETE, TAIL.format("2 * n_samples"), "ours", TOWERS),
    Method("factorised, any index", cp.FactorisedInteractions, PARTS, OF_INDEX, FEWER, "ours", TOWERS),
    Method("factorised, any index", cp.LayerFactorisedInteractions, CELLS, OF_INDEX, TAIL.format("2 * n_samples"), "ours", TOWERS),
    Method("Integrated Hessians", cp.IntegratedHessians, PARTS, WITHIN, "at most `2 * n_steps * n_players`", "§A.14, eq. 15"),
    Method("Integrated Hessians", cp.LayerIntegratedHessians, CELLS, WITHIN, OF_TAIL.format("2 * n_steps * n_players"), "§A.14, eq. 15"),
    Method("KSHAP, kernel", cp.KernelShapleyTaylor, PARTS, COMPLETE, "at most `2 * n_samples`", "§5.2, eq. 7"),
    Method("KSAM, kernel", cp.LayerKernelShapleyTaylor, CELLS, COMPLETE, OF_TAIL.format("2 * n_samples"), "§5.2, eq. 7"),
    Method("permutations", cp.ShapleyTaylorSampling, PARTS, COMPLETE, "at most `2 * n_samples`", "§5.2"),
    Method("permutations", cp.LayerShapleyTaylorSampling, CELLS, COMPLETE, OF_TAIL.format("2 * n_samples"), "§5.2"),
    Method("Gaussian process", cp.GaussianProcessShapleyTaylor, PARTS, COMPLETE, "at most `2 * n_samples`", "ours"),
    Method("Gaussian process", cp.LayerGaussianProcessShapleyTaylor, CELLS, COMPLETE, OF_TAIL.format("2 * n_samples"), "ours"),
    Method("LIME", cp.PairwiseLime, PARTS, GAP, "at most `2 * n_samples`", "§5.2", f"{OPAQUE}; extra `lime`"),
    Method("SBSM", cp.PairwiseSBSM, "sliding windows, averaged over any parts", NO_SUM, "at most `2 * n_windows`", "§A.11, eq. 11"),
    Method("enumeration", cp.ExactShapleyTaylor, "few", COMPLETE, "`2**n_query + 2**n_retrieved`", "eq. 5"),
    Method("enumeration", cp.LayerExactShapleyTaylor, "few", COMPLETE, TAIL.format("2**n_query + 2**n_retrieved"), "eq. 5"),
    Method("jagged", cp.JaggedShapleyTaylor, PARTS, COMPLETE, "`2 * n_samples`", "§5.1"),
    Method("jagged", cp.LayerJaggedShapleyTaylor, CELLS, COMPLETE, TAIL.format("2 * n_samples"), "§5.1"),
    Method("MaxSim", cp.MaxSimShapleyTaylor, "embedded tokens", COMPLETE, "`2`", "ours", f"{TOWERS} with MaxSim"),
)


def format_method_table() -> str:
    """The table in Markdown."""
    rows = [HEADER, ("---",) * len(HEADER), *(method.cells for method in METHODS)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(format_method_table())
