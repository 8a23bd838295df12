import { DatabaseSync } from 'node:sqlite'
import type { TestServer } from './server.ts'

/** Every row of every table, as the file has them: equal snapshots mean that nothing was changed. */
export function snapshot({ config }: TestServer): Record<string, string[]> {
  const db = new DatabaseSync(config.databaseFile, { readOnly: true })
  try {
    const tables = db.prepare("select name from sqlite_master where type = 'table'").all()
    return Object.fromEntries(
      tables.map(({ name }) => [
        String(name),
        db
          .prepare(`select * from "${name}"`)
          .all()
          .map((row) => JSON.stringify(row)),
      ]),
    )
  } finally {
    db.close()
  }
}

/** Column names of every table. */
export function columns({ config }: TestServer): string[] {
  const db = new DatabaseSync(config.databaseFile, { readOnly: true })
  try {
    const query = `select distinct column.name from sqlite_master as entry
      join pragma_table_info(entry.name) as column where entry.type = 'table'`
    return db
      .prepare(query)
      .all()
      .map(({ name }) => String(name))
  } finally {
    db.close()
  }
}

/** Changes the database behind the server's back. */
export function tamper({ config }: TestServer, sql: string): void {
  const db = new DatabaseSync(config.databaseFile)
  try {
    db.exec(sql)
  } finally {
    db.close()
  }
}

/** Reads the database behind the server's back. */
export function query({ config }: TestServer, sql: string): Record<string, unknown>[] {
  const db = new DatabaseSync(config.databaseFile, { readOnly: true })
  try {
    return db.prepare(sql).all()
  } finally {
    db.close()
  }
}
