import { describeQueryModel } from '../support/query-model.ts'

describeQueryModel({ selects: 1000, pages: 100, figures: 250 })
