// A workbook: the questions of docs/operate.md, each with the answer of the last 24 hours.
param location string
param tags object
param componentId string
param dashboard string

var questions = [
  { title: 'Is it keeping up?', query: loadTextContent('queries/keeping-up.kql') }
  { title: 'What became of the entries?', query: loadTextContent('queries/entries.kql') }
  { title: 'How did runs end, and why?', query: loadTextContent('queries/outcomes.kql') }
  { title: 'Why are entries not stored?', query: loadTextContent('queries/reasons.kql') }
  { title: 'When did each target last have a run that went well?', query: loadTextContent('queries/last-good-run.kql') }
  { title: 'How fast is it?', query: loadTextContent('queries/speed.kql') }
  { title: 'Which pages were slow or failed?', query: loadTextContent('queries/pages.kql') }
  { title: 'Was the circuit open, and how many dead letters were there?', query: loadTextContent('queries/circuit.kql') }
]

// The format of Azure's workbooks: type 1 is text, type 3 a query of Application Insights.
var heading = {
  type: 1
  content: { json: '# reclaim\n[Dashboard](${dashboard})' }
  name: 'heading'
}
var answers = [
  for question in questions: {
    type: 3
    content: {
      version: 'KqlItem/1.0'
      title: question.title
      query: question.query
      size: 1
      timeContext: { durationMs: 86400000 }
      queryType: 0
      resourceType: 'microsoft.insights/components'
    }
    name: question.title
  }
]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(componentId, 'reclaim')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'reclaim'
    category: 'workbook'
    sourceId: componentId
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat([heading], answers)
      fallbackResourceIds: [componentId]
    })
  }
}
