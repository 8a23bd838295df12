import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The release after this one: the same server with one more migration, whose body is given. Returns what
 * starts it. `dir`: where its files may lie.
 */
export function laterRelease(dir: string, migration: string): string {
  for (const each of ['bin', 'src']) cpSync(join(ROOT, each), join(dir, each), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ ...manifest, version: '99.0.0' }))
  const migrations = join(dir, 'src/store/migrations')
  writeFileSync(
    join(migrations, '9999-later.ts'),
    `import { type Kysely, sql } from 'kysely'
export async function up(db: Kysely<unknown>): Promise<void> {
  const run = (text: string) => sql.raw(text).execute(db)
  ${migration}
}
`,
  )
  const index = join(migrations, 'index.ts')
  const text = readFileSync(index, 'utf8')
  const listed = text.replace(/\}\s*$/, "  '9999-later': { up: later },\n}\n")
  writeFileSync(index, `import { up as later } from './9999-later.ts'\n${listed}`)
  return join(dir, 'bin/mintmark.mjs')
}

/** What a release may do to the tables while the one before is running. */
export const ADDITIONS = `
  await run('create table of_a_later_release (id text primary key)')
  await run('alter table token add column of_a_later_release bigint')
  await run(\`alter table "user" add column of_a_later_release text not null default 'x'\`)
  await run('create index of_a_later_release_token on token (of_a_later_release)')`
