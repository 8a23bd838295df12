import { describeQueryModel } from '../support/query-model.ts'

// As often as a quick suite has time for; test/hard tries a thousand.
describeQueryModel({ selects: 40, pages: 5, figures: 20 })
