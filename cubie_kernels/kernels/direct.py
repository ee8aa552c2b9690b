"""Linear systems by factors of the whole matrix."""


def linear_prepare(t, y, p, rtol, atol, jac, lu):
    """Compute the Jacobian of a step."""
    jacobian(t, y, p, jac)


def linear_factor(t, y, p, a, jac, lu):
    """Factorise ``a*M - J``; return the lanes in which it is singular."""
    lu_factor(jac, a, lu)
    return a != a


def linear_solve(t, y, p, a, b, jac, lu):
    """Replace ``b`` by the solution; return a code, 0, and the number of iterations, 0."""
    lu_solve(lu, b)
    return integers(0), integers(0)
