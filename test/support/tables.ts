import type { TestServer } from './server.ts'

/** Every row of every table, as the database has them: equal snapshots mean that nothing was changed. */
export async function snapshot({ database }: TestServer): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {}
  for (const table of await database.tables()) {
    // Nodes say again and again that they are there, whatever is asked of them.
    if (table === 'node') continue
    const rows = await database.query(`select * from "${table}"`)
    found[table] = rows.map((row) => JSON.stringify(row)).sort()
  }
  return found
}

/** Column names of every table. */
export async function columns({ database }: TestServer): Promise<string[]> {
  const query =
    database.config.kind === 'sqlite'
      ? `select distinct column.name from sqlite_master as entry
          join pragma_table_info(entry.name) as column where entry.type = 'table'`
      : `select distinct column_name as name from information_schema.columns
          where table_schema = current_schema()`
  return (await database.query(query)).map(({ name }) => String(name))
}
