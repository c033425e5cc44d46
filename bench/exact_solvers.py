"""The solvers that bench/exact_peers.py holds beside Taper. Each function makes, from an exact_problems.Problem,
solve(lambdas, tolerance), which returns rows of coefficients and the intercepts. What is done outside solve, such as
laying x out as the library wants it, is not timed."""

import collections

import numpy as np
import scipy.sparse

from exact_problems import lambda_max


def l1(version):
    """How scikit-learn wants L1 to be asked for."""
    return {"l1_ratio": 1} if tuple(map(int, version.split(".")[:2])) >= (1, 8) else {"penalty": "l1"}


def centred(problem):
    """x and y less their means, and the means; x itself when it is sparse, for which its means are zeros or are
    subtracted implicitly by the caller."""
    x_mean = np.asarray(problem.x.mean(axis=0)).ravel()
    y_mean = problem.y.mean()
    x = problem.x if scipy.sparse.issparse(problem.x) else problem.x - x_mean
    return x, problem.y - y_mean, x_mean, y_mean


def descent(problem):
    """scikit-learn's enet_path, which is what its Lasso and ElasticNet call too."""
    from sklearn.linear_model import enet_path

    def solve(lambdas, tolerance):
        x, y, x_mean, y_mean = centred(problem)
        more = {}
        if scipy.sparse.issparse(x):
            more = {"X_offset": x_mean, "X_scale": np.ones(len(x_mean))}
        _, w, _ = enet_path(x, y, l1_ratio=problem.ratio, alphas=lambdas, tol=tolerance, max_iter=10**6, copy_X=False,
                            **more)
        return w.T, y_mean - x_mean @ w
    return solve


def liblinear(problem):
    import sklearn
    from sklearn.linear_model import LogisticRegression
    x, y = problem.x, problem.y

    def solve(lambdas, tolerance):
        w = []
        for lam in lambdas:
            model = LogisticRegression(solver="liblinear", C=1 / (len(y) * lam), tol=tolerance, max_iter=10**6,
                                       fit_intercept=False, random_state=0, **l1(sklearn.__version__))
            w.append(model.fit(x, y).coef_[0])
        return w, np.zeros(len(lambdas))
    return solve


def saga(problem):
    import sklearn
    from sklearn.linear_model import LogisticRegression
    y = problem.y
    x = problem.x.tocsr() if scipy.sparse.issparse(problem.x) else np.ascontiguousarray(problem.x)

    def solve(lambdas, tolerance):
        w, b = [], []
        model = LogisticRegression(solver="saga", tol=tolerance, max_iter=10**6, warm_start=True, random_state=0,
                                   **l1(sklearn.__version__))
        for lam in lambdas:
            model.set_params(C=1 / (len(y) * lam)).fit(x, y)
            w.append(model.coef_[0].copy())
            b.append(model.intercept_[0])
        return w, b
    return solve


def celer(problem):
    from celer import celer_path
    more = {"l1_ratio": problem.ratio, "max_iter": 1000}

    def logistic(lambdas, tolerance):
        _, w, _ = celer_path(problem.x, 2 * problem.y - 1, "logreg", alphas=len(problem.y) * np.asarray(lambdas),
                             tol=tolerance, use_PN=True, **more)
        return w.T, np.zeros(len(lambdas))

    def squared(lambdas, tolerance):
        x, y, x_mean, y_mean = centred(problem)
        _, w, _ = celer_path(x, y, "lasso", alphas=lambdas, tol=tolerance, X_offset=x_mean, X_scale=np.ones(len(x_mean)),
                             **more)
        return w.T, y_mean - x_mean @ w
    return logistic if problem.loss == "logistic" else squared


def skglm(problem):
    from skglm import ElasticNet, Lasso, SparseLogisticRegression
    if problem.loss == "logistic":
        model = SparseLogisticRegression(max_iter=1000, warm_start=True)
    elif problem.ratio == 1:
        model = Lasso(max_iter=1000, warm_start=True)
    else:
        model = ElasticNet(l1_ratio=problem.ratio, max_iter=1000, warm_start=True)

    def solve(lambdas, tolerance):
        from sklearn.base import clone
        w, b = [], []
        fresh = clone(model).set_params(tol=tolerance)
        for lam in lambdas:
            fresh.set_params(alpha=lam).fit(problem.x, problem.y)
            w.append(np.ravel(fresh.coef_).copy())
            b.append(float(np.ravel(fresh.intercept_)[0]))
        return w, b
    return solve


def adelie(problem):
    import adelie as ad
    sparse = scipy.sparse.issparse(problem.x)
    x = ad.matrix.sparse(problem.x, method="naive") if sparse else problem.x
    glm = ad.glm.binomial(problem.y) if problem.loss == "logistic" else ad.glm.gaussian(problem.y)

    def solve(lambdas, tolerance):
        state = ad.grpnet(x, glm, alpha=problem.ratio, lmda_path=np.array(lambdas), tol=tolerance, irls_tol=tolerance,
                          early_exit=False, progress_bar=False)
        return state.betas.toarray(), state.intercepts
    return solve


def adelie_in_steps(problem):
    """A single lambda by a path of five down to it: adelie is made for paths."""
    solve = adelie(problem)
    largest = lambda_max(problem.x, problem.y, problem.ratio)

    def last(lambdas, tolerance):
        w, b = solve(np.geomspace(largest, lambdas[0], 5), tolerance)
        return w[4:], b[4:]
    return last


# `without_intercept`: the losses for which it has no free intercept and solves the smaller problem; `compiles`: it
# compiles functions when they are first called.
Peer = collections.namedtuple("Peer", "name package make losses without_intercept sparse paths compiles note",
                              defaults=((), True, True, False, ""))
BOTH, LOGISTIC, SQUARED = ("squared", "logistic"), ("logistic",), ("squared",)
PEERS = [
    Peer("scikit-learn", "scikit-learn", descent, SQUARED,
         note="Beside scikit-learn stands its coordinate descent, enet_path, which Lasso and ElasticNet call."),
    Peer("liblinear", "scikit-learn", liblinear, LOGISTIC, LOGISTIC,
         note="liblinear (in scikit-learn) penalizes any intercept, so that it solves the problem without one; it cannot "
              "be started from the point before, so that its path is 100 fits."),
    Peer("saga", "scikit-learn", saga, LOGISTIC, sparse=False,
         note="saga (in scikit-learn) is measured on dense designs alone."),
    Peer("celer", "celer", celer, BOTH, LOGISTIC, compiles=True, note="celer has no intercept for the logistic loss."),
    Peer("skglm", "skglm", skglm, BOTH, compiles=True),
    Peer("adelie", "adelie", adelie, BOTH, note="adelie takes the tolerance for both its loops, tol and irls_tol."),
    Peer("adelie in steps", "adelie", adelie_in_steps, BOTH, paths=False,
         note="In steps it goes to a single lambda by a path of five."),
]
