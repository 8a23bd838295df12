/**
 * A function that binds others to what they all begin with, so that callers pass only the rest:
 * `on(getUser)(caller, id)` is `getUser(deps, caller, id)`.
 */
export function binder<Held extends unknown[]>(...held: Held) {
  return <Rest extends unknown[], Result>(work: (...all: [...Held, ...Rest]) => Result) =>
    (...rest: Rest): Result =>
      work(...held, ...rest)
}
