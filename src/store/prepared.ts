import { type Compilable, CompiledQuery, PostgresAdapter } from 'kysely'
import type { Db } from './engine.ts'

interface Statement<V> {
  sql: string
  parametersOf(values: V): unknown[]
}

/**
 * A query that is built and compiled at its first use, and from then on only run, with other values: for what
 * is asked all the time, because building a query costs as much as SQLite needs to answer it. `build` must
 * not look at the values, which stand for those to come; all have the same members.
 */
export function prepared<V extends object, R>(
  build: (db: Db, values: V) => Compilable<R>,
): (db: Db, values: V) => Promise<R[]> {
  const known = new Map<boolean, Statement<V>>()

  function compile(db: Db, names: readonly (keyof V)[]): Statement<V> {
    const marks = new Map(names.map((name): [unknown, keyof V] => [{ name }, name]))
    const marked = Object.fromEntries([...marks].map(([mark, name]) => [name, mark])) as V
    const { sql, parameters } = build(db, marked).compile()
    const places = parameters.map((fixed) => ({ name: marks.get(fixed), fixed }))
    return {
      sql,
      parametersOf: (values) =>
        places.map(({ name, fixed }) => (name === undefined ? fixed : values[name])),
    }
  }

  return async (db, values) => {
    const isPostgres = db.getExecutor().adapter instanceof PostgresAdapter
    let statement = known.get(isPostgres)
    if (statement === undefined) {
      statement = compile(db, Object.keys(values) as (keyof V)[])
      known.set(isPostgres, statement)
    }
    const query = CompiledQuery.raw(statement.sql, statement.parametersOf(values))
    return (await db.executeQuery<R>(query as CompiledQuery<R>)).rows
  }
}
