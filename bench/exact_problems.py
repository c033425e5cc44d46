"""The problems of bench/exact_peers.py: synthetic stand-ins, drawn from fixed seeds, for data that the literature on
sparse models measures itself by, and Madelon; their objective, and a duality gap that is the same for every solver."""

import dataclasses
import functools

import numpy as np
import scipy.sparse


@dataclasses.dataclass
class Problem:
    """Minimize mean loss(y, x w + b) + lambda (ratio |w|_1 + (1 - ratio)/2 |w|^2) for each of `lambdas`, to `bar`
    times the objective of the best constant. x is column-major, or CSC with indices of type int32."""
    name: str
    x: object
    y: np.ndarray
    loss: str
    lambdas: np.ndarray
    intercept: bool = True
    ratio: float = 1
    bar: float = 1e-6
    smallest: float = 0  # of a path: the last lambda over lambda_max

    def mean(self, z):
        return z if self.loss == "squared" else (1 + np.tanh(z / 2)) / 2

    def mean_loss(self, z):
        return np.mean((self.y - z)**2 / 2 if self.loss == "squared" else np.logaddexp(0, z) - self.y * z)

    @functools.cached_property
    def null(self):
        """The objective of the best constant, which is 0 where there is no intercept."""
        level = self.y.mean() if self.intercept else 0
        if self.loss == "logistic":
            level = np.log(level / (1 - level)) if self.intercept else 0
        return self.mean_loss(np.full(len(self.y), level))

    def without_intercept(self):
        """The smaller problem, at the same lambdas."""
        return dataclasses.replace(self, intercept=False)

    def measure(self, w, b, lam):
        """Objective and duality gap. The dual point is the residual y - mean, made orthogonal to the intercept and,
        for the pure L1 penalty, scaled until |x' residual| / n <= lambda."""
        z = self.x @ w + b
        l1, l2 = lam * self.ratio, lam * (1 - self.ratio)
        primal = self.mean_loss(z) + l1 * np.abs(w).sum() + l2 / 2 * (w @ w)
        r = self.y - self.mean(z)
        if self.intercept and self.loss == "squared":
            r -= r.mean()
        elif self.intercept:  # the residuals of one class shrink, so that none leaves where the dual is finite
            up, down = r[r > 0].sum(), -r[r < 0].sum()
            r = np.where(r > 0, r * min(1, down / max(up, 1e-300)), r * min(1, up / max(down, 1e-300)))
        correlation = np.abs(self.x.T @ r) / len(self.y)
        penalty = 0
        if l2 == 0:
            most = l1 / max(correlation.max(), 1e-300)
            best = (self.y @ r) / max(r @ r, 1e-300) if self.loss == "squared" else 1
            r *= np.clip(best, 0, most)
        else:
            penalty = (np.maximum(correlation - l1, 0)**2).sum() / (2 * l2)
        if self.loss == "squared":
            dual = np.mean(r * self.y - r**2 / 2)
        else:
            p = np.clip(self.y - r, 1e-300, 1)
            q = np.clip(1 - self.y + r, 1e-300, 1)
            dual = -np.mean(p * np.log(p) + q * np.log(q))
        gap = primal - (dual - penalty)
        return (primal, gap) if np.isfinite(gap) else (np.inf, np.inf)

    def write(self, path):
        """As bench/exact reads it."""
        n, p = self.x.shape
        sparse = scipy.sparse.issparse(self.x)
        parts = [np.array([n, p, self.x.nnz if sparse else -1], np.int64)]
        if sparse:
            parts += [self.x.indptr.astype(np.int32), self.x.indices.astype(np.int32), self.x.data]
        else:
            parts.append(np.asarray(self.x).ravel(order="F"))
        with open(path, "wb") as file:
            for part in [*parts, self.y]:
                file.write(np.ascontiguousarray(part).tobytes())


def lambda_max(x, y, ratio=1):
    """Of both losses, with an intercept."""
    return np.abs(x.T @ (y - y.mean())).max() / len(y) / ratio


def standardized(x):
    return np.asfortranarray((x - x.mean(axis=0)) / x.std(axis=0))


def labels(score, share, rng):
    """0 and 1, with about that share of ones, by the logistic model that has the score less some constant."""
    low, high = -1e3, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if ((1 + np.tanh((score - middle) / 2)) / 2).mean() > share else (low, middle)
    return (rng.random(len(score)) < (1 + np.tanh((score - low) / 2)) / 2).astype(float)


def words(seed=1):
    """4601 letters: 54 frequencies of words, most of them 0, and 3 lengths with heavy tails; 39 % are of class 1."""
    rng = np.random.default_rng(seed)
    n = 4601
    topic = rng.random((n, 4)) < 0.3
    used = rng.random((n, 54)) < np.clip(rng.beta(1, 4, 54) + 0.4 * topic[:, rng.integers(0, 4, 54)] - 0.1, 0.02, 0.9)
    x = np.hstack([used * rng.lognormal(-1, 1, (n, 54)), rng.lognormal([1, 2.5, 4], [0.8, 1.2, 1.4], (n, 3))])
    x = standardized(x)
    return x, labels(1.5 * x @ (rng.standard_normal(57) * (rng.random(57) < 0.6)), 0.39, rng)


def wide(seed=2):
    """200 x 10,000 Gaussian, neighbouring columns correlated by 0.7; 30 of them matter; noise of a fifth."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((200, 10_000))
    for j in range(1, x.shape[1]):
        x[:, j] = 0.7 * x[:, j - 1] + np.sqrt(1 - 0.7**2) * x[:, j]
    signal = x[:, rng.choice(x.shape[1], 30, replace=False)] @ rng.choice([-1.0, 1.0], 30)
    return np.asfortranarray(x), signal + 0.2 * signal.std() * rng.standard_normal(200)


def documents(seed=3):
    """800 x 100,000, binary, 0.9 % filled: columns popular as words are, by Zipf's law, rows short and long, both of
    some topic. A score, of 50 columns and noise, and labels of which a tenth are 1."""
    rng = np.random.default_rng(seed)
    n, p, topics = 800, 100_000, 20
    popular = 1 / (np.arange(p) + 200.0)**0.8
    long = rng.lognormal(0, 0.7, n)
    topic = rng.integers(0, topics, n)
    of = rng.integers(0, topics, p)
    columns = []
    popular *= 0.009 * p / popular.sum()
    for j in range(p):
        chance = popular[j] * long / long.mean() * np.where(topic == of[j], 6, 14 / 19)
        rows = np.flatnonzero(rng.random(n) < chance)
        columns.append(rows if len(rows) else rng.integers(0, n, 1))
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in columns])]).astype(np.int32)
    indices = np.concatenate(columns).astype(np.int32)
    x = scipy.sparse.csc_matrix((np.ones(len(indices)), indices, starts), shape=(n, p))
    score = x[:, rng.choice(5000, 50, replace=False)] @ rng.standard_normal(50)
    score = (score - score.mean()) / score.std()
    return x, score + 0.3 * rng.standard_normal(n), labels(3 * score, 0.1, rng)


def census(seed=4):
    """32,561 people, 14 categorical variables with 123 levels in all, one-hot: one 1 for each variable. 24 % are of
    class 1. A hidden class of eight makes the variables depend on one another."""
    rng = np.random.default_rng(seed)
    n, levels = 32_561, [5, 8, 5, 16, 5, 7, 14, 6, 5, 2, 2, 2, 5, 41]
    hidden = rng.integers(0, 8, n)
    hot = []
    for count, first in zip(levels, np.cumsum([0, *levels])):
        chances = rng.dirichlet(np.full(count, 0.6), 8) + 0.002
        steps = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)
        hot.append(first + np.minimum((rng.random(n)[:, None] > steps[hidden]).sum(axis=1), count - 1))
    indices = np.stack(hot, axis=1).ravel()
    x = scipy.sparse.csr_matrix((np.ones(len(indices)), indices, np.arange(n + 1) * len(levels)), shape=(n, sum(levels)))
    x = x.tocsc()
    return x, labels(x @ rng.standard_normal(x.shape[1]), 0.24, rng)


def madelon(path):
    """Columns of mean 0 and population variance 1; the label is 1 for class -1 and 0 for class 1."""
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return standardized(table[:, :-1]), (table[:, -1] < 0).astype(float)


def problems(madelon_file=None):
    """All of them, with an intercept; Madelon only where there is its file."""
    found = []

    def add(name, x, y, loss, fraction, **more):
        """One lambda, that fraction of the largest."""
        lam = fraction * lambda_max(x, y, more.get("ratio", 1))
        found.append(Problem(f"{name}, {fraction:.0e}".replace("e-0", "e-"), x, y, loss, np.array([lam]), **more))

    def path(name, x, y, loss, **more):
        """A hundred, down to a hundredth of the largest."""
        grid = np.geomspace(1, 1e-2, 100) * lambda_max(x, y)
        found.append(Problem(f"{name}, path", x, y, loss, grid, smallest=1e-2, **more))

    x, y = words()
    add("letters, logistic", x, y, "logistic", 1e-2)
    add("letters, logistic", x, y, "logistic", 1e-3)
    x, y = wide()
    add("wide, lasso", x, y, "squared", 1e-2)
    path("wide, lasso", x, y, "squared")
    x, score, y = documents()
    for fraction in (1e-1, 1e-2):
        add("documents, lasso", x, score, "squared", fraction)
        add("documents, elastic net", x, score, "squared", fraction, ratio=0.5)
        add("documents, logistic", x, y, "logistic", fraction)
    path("documents, lasso", x, score, "squared")
    x, y = census()
    add("census, logistic", x, y, "logistic", 1e-3)
    path("census, logistic", x, y, "logistic")
    if madelon_file is not None:
        x, y = madelon(madelon_file)
        null = np.log(2)  # the bars of Madelon are in units of the objective
        found.append(Problem("Madelon, logistic, lambda 0.01", x, y, "logistic", np.array([0.01]), bar=1e-8 / null))
        path("Madelon, logistic", x, y, "logistic", bar=1e-6 / null)
    return found
