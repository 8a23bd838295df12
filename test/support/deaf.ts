import { Client } from 'pg'

// Loaded into a server (`node --import`) that is to break its promise: it follows the change log and says
// so, but never learns what was changed. Whoever watches over the promise must find that out.

interface Row {
  subject_id: unknown
}

const query = Client.prototype.query as (...args: unknown[]) => Promise<{ rows: Row[] }>

Client.prototype.query = async function deaf(this: Client, ...args: unknown[]) {
  const result = await query.apply(this, args)
  if (String(args[0]).includes('left join change')) {
    for (const row of result.rows) if (row.subject_id !== null) row.subject_id = 'nothing'
  }
  return result
} as unknown as typeof Client.prototype.query
